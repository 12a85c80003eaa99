"""Dropout with and without batchnorm, and in which order."""

from gpubn.experiments.generalisation import Generalisation
from gpubn.experiments.norm_measures import NormInputVariance
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "dropout",
    {
        "norm": "norm.name",
        "dropout": "model.dropout",
        "dropout_at": "model.dropout_at",
        "rate": "optim.rate",
    },
    probes=lambda config: (Generalisation(10), NormInputVariance()),
    group=10,
)
