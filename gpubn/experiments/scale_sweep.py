"""Scale of the hidden layers' initial weights over six decades, with and without batchnorm."""

from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "scale_sweep",
    {"norm": "norm.name", "activation": "model.activation", "scale": "init.scale"},
    group=10,
)
