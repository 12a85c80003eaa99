"""Batches and ghost batches on a small training set: what the noise of the statistics does."""

from gpubn.experiments.generalisation import Generalisation
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "batch_sweep",
    {"norm": "norm.name", "batch": "optim.batch", "rate": "optim.rate"},
    probes=lambda config: (Generalisation(16, population=True),),
)
