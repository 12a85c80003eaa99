"""Document D: one hidden tanh layer on MNIST under several initialisations, and batchnorm."""

from gpubn.experiments.measures import Densities, Drift, Ratios, Saturation, UnitMeans
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "mnist_init",
    {"init": "init.name", "norm": "norm.name"},
    probes=lambda config: (Saturation(6), Ratios(6), Drift(6), Densities(200), UnitMeans()),
    evaluated=10_000,
)
