"""Cells of an experiment, and their rows."""

from dataclasses import fields, is_dataclass

from gpubn.backend import resolve
from gpubn.config import Config
from gpubn.experiments import Context, get

NUMPY = resolve("numpy")
PLACEMENTS = ["none", "before", "after"]
OF_GRIDS = ("tuning", "universe")
GROUPS = {
    f.name: f.default_factory
    for f in fields(Config)
    if is_dataclass(f.default_factory) and f.name not in OF_GRIDS
}


def cell(name, placement="none", dataset="gaussian", **options):
    """A cell of three seeds; an option goes to the group that has a field of its name."""
    norm_kind = options.pop("norm_kind", "ghost" if options.get("ghost") else "batch")
    norm = {"name": placement, "placement": placement, "kind": norm_kind}
    named = {"data": {"name": dataset}, "norm": norm}
    groups = {}
    for group, kind in GROUPS.items():
        given = named.get(group, {})
        own = [f.name for f in fields(kind) if f.name in options and f.name not in given]
        groups[group] = kind(**given, **{key: options.pop(key) for key in own})
    return Config(name=name, **groups, **{"seeds": 3} | options)


def run(config, tick=None):
    """All rows of the cell."""
    return get(config.name).run(config, Context(NUMPY, tick=tick))


def values(rows, metric, step=None, layer=None):
    """One metric at one place, by seed."""
    return {r.seed: r.value for r in rows if (r.metric, r.step, r.layer) == (metric, step, layer)}
