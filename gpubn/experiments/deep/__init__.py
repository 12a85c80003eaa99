"""Experiments on deep networks at initialisation: signal propagation, forward and back."""
