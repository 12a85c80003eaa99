"""Initial weights by the options of their configuration."""

from gpubn.config import InitConfig
from gpubn.nn.init import initial_weight


def draw_weight(kind, fan_in, fan_out, seeds, layer, **options):
    """Weights (R, fan_in, fan_out), float64, as a network of this configuration gets them."""
    return initial_weight(InitConfig(kind=kind, **options), fan_in, fan_out, seeds, layer)
