"""The GPU path beside PyTorch and JAX on one card: what is timed, how, and what must come out.

`scripts/bench/gpu.py` puts it in order. Peers and plots are imported where they are used, so that a
machine that lacks one of them gives the other numbers.
"""
