"""What happens inside a five-layer network while it trains."""

from gpubn.experiments.measures import Drift, GradientShift, Percentiles, Ratios, Saturation
from gpubn.experiments.norm_measures import NormParameters
from gpubn.experiments.training import training_experiment

AXES = {
    "init": "init.name",
    "norm": "norm.name",
    "activation": "model.activation",
    "depth": "model.depth",
}

EXPERIMENT = training_experiment(
    "diagnostics",
    AXES,
    probes=lambda config: (
        Saturation(8),
        Percentiles(8),
        Ratios(8),
        Drift(8),
        GradientShift(8),
        NormParameters(8),
    ),
)
