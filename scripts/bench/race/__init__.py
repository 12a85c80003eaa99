"""The project beside PyTorch and JAX: what is raced, how it is timed, and what must come out.

Peers and plots are imported where they are used, so that a machine that lacks one of them gives the
other numbers.
"""
