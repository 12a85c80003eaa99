"""Cells of an experiment, and their rows."""

from gpubn.backend import resolve
from gpubn.experiments import Context, get

NUMPY = resolve("numpy")


def run(config, tick=None):
    """All rows of the cell."""
    return get(config.name).run(config, Context(NUMPY, tick=tick))


def values(rows, metric, step=None, layer=None):
    """One metric at one place, by seed."""
    return {r.seed: r.value for r in rows if (r.metric, r.step, r.layer) == (metric, step, layer)}
