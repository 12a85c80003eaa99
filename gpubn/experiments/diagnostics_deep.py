"""What happens inside a network as deep as document A's while it trains: covariate shift by layer."""

from gpubn.experiments.diagnostics import AXES
from gpubn.experiments.measures import Drift, GradientShift
from gpubn.experiments.training import training_experiment

EXPERIMENT = training_experiment(
    "diagnostics_deep",
    AXES,
    probes=lambda config: (Drift(4), GradientShift(2)),
)
