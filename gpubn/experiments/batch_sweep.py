"""Batch sizes on a small training set: the gap between training and test."""

from gpubn.experiments.generalisation import Generalisation
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "batch_sweep",
    {"norm": "norm.name", "batch": "optim.batch"},
    probes=lambda config: (Generalisation(16),),
)
