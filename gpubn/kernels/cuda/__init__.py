"""Fused kernels in CUDA C++: each source beside the launcher that chooses and calls its kernels."""
