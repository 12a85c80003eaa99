"""beta starting at 1, as document B has it, or at 0."""

from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "initial_beta",
    {
        "activation": "model.activation",
        "beta": "norm.initial_beta",
        "norm": "norm.name",
        "depth": "model.depth",
    },
    group=10,
)
