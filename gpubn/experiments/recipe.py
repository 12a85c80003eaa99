"""Document D's batchnorm with its quirks and without, one at a time."""

from gpubn.experiments.norm_measures import ZeroVariance
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "recipe",
    {
        "init": "init.name",
        "norm": "norm.name",
        "eps": "norm.eps",
        "average": "norm.average",
        "correction": "norm.correction",
    },
    probes=lambda config: (ZeroVariance(),),
)
