"""The training grid: depth, normalisation, activation and initialisation on MNIST."""

from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "depth_grid",
    {
        "init": "init.name",
        "norm": "norm.name",
        "activation": "model.activation",
        "depth": "model.depth",
        "rate": "optim.rate",
    },
    group=10,
)
