"""Batchnorm with and without gamma and beta, in document D's network."""

from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment("gamma_beta", {"norm": "norm.name"})
