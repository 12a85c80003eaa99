"""Learning rates over four decades, with and without batchnorm; divergence is counted."""

from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "rate_sweep",
    {"norm": "norm.name", "activation": "model.activation", "rate": "optim.rate"},
    group=10,
)
