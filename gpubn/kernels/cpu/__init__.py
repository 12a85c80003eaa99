"""Kernels for the CPU: what is compiled, and the launches that hand it addresses."""
