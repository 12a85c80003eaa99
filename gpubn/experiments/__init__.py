"""The experiments, by name. A document's own arithmetic, quirks included, lives here alone."""

from gpubn.experiments.base import Context, Experiment, get, names
from gpubn.experiments.signals import Signal, signal

__all__ = ["Context", "Experiment", "Signal", "get", "names", "signal"]
