"""The project beside PyTorch and JAX: what is raced, how it is timed, and what must come out.

Peers are imported where they take part, so that a machine that lacks one gives the other numbers.
"""
