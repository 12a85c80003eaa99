"""The experiments, by name. A document's own arithmetic, quirks included, lives here alone."""

from gpubn.experiments.base import Context, Experiment, get, names

__all__ = ["Context", "Experiment", "get", "names"]
