"""Biased and unbiased variance in training, by batch size."""

from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "bessel",
    {"correction": "norm.correction", "batch": "optim.batch"},
)
