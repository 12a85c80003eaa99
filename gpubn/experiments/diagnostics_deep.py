"""Covariate shift by layer, in a network as deep as document A's while it trains."""

from gpubn.experiments.diagnostics import AXES
from gpubn.experiments.measures import Drift, GradientShift
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "diagnostics_deep",
    AXES,
    probes=lambda config: (Drift(4), GradientShift(2)),
)
