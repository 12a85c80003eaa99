"""What Numba compiles: one replica of one kernel a function, and the loop that runs a tape."""
