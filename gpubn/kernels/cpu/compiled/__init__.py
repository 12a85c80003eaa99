"""Functions that Numba compiles: one replica of a kernel each, and the loop that runs a tape."""
