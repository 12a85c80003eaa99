"""Cells that are measured as one program: which ones, in which order, and to the bits of alone."""

import math
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn.backend import Backend, resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.errors import BackendError, ConfigError, DataError, StoreError
from gpubn.experiments import Context, get
from gpubn.experiments.base import Stacking
from gpubn.experiments.probes.activations import (
    Histograms,
    Percentiles,
    Saturation,
    UnitInputs,
    UnitMeans,
)
from gpubn.experiments.probes.drift import Drift
from gpubn.experiments.probes.generalisation import Generalisation
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios
from gpubn.experiments.probes.normalisation import NormInputVariance, NormParameters, ZeroVariance
from gpubn.experiments.training import trainer
from gpubn.rows import Failure, Observation
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.stacks import run_stack, split_into_stacks

NUMPY = resolve("numpy")
GPU = Backend("cupy", np, "a GPU", 1)
PROBES = (
    *(partial(kind, 2) for kind in (Saturation, Percentiles, UpdateRatios, Drift, GradientShift)),
    *(partial(NormParameters, 2), partial(Histograms, 2, bins=6), partial(Generalisation, 2)),
    *(UnitInputs, UnitMeans, ZeroVariance, NormInputVariance),
)
BY_POPULATION = (partial(Generalisation, 2, population=True),)
RELU = {"activation": "relu", "width": 6, "depth": 2}
TANH = {"activation": "tanh", "width": 5, "depth": 1}


def make(name="depth_grid", *, data=None, model=None, norm=None, init=None, optim=None, **options):
    return Config(
        name=name,
        data=DataConfig(**{"name": "digits", "train_examples": 48} | (data or {})),
        model=ModelConfig(**{"width": 5} | (model or {})),
        norm=NormConfig(**norm or {}),
        init=InitConfig(**init or {}),
        optim=OptimConfig(**{"batch": 16, "steps": 4} | (optim or {})),
        **{"seeds": 2, "every": 2} | options,
    )


def assert_as_alone(configs, group=8, kinds=PROBES):
    """The rows of each cell, in programs of so many networks, are those alone, to the last bit."""

    def train(some):
        context = Context(replace(NUMPY, workers=2))
        probes = lambda config: [probe() for probe in kinds]  # noqa: E731
        return trainer.train_cells(some, context, probes=probes, group=group, evaluated=40)

    together = train(configs)
    for config, rows in zip(configs, together, strict=True):
        (alone,) = train([config])
        assert list(map(repr, rows)) == list(map(repr, alone))
    return together


def values(rows, metric):
    return [row.value for row in rows if row.metric == metric]


# Together as alone --------------------------------------------------------------------------------

# Numbers in which the cells of a stack differ; the third one will diverge.
CELLS = (
    {"optim": {"rate": 0.1, "min_rate": 0.0}},
    {
        "optim": {"rate": 0.7, "min_rate": 0.3},
        "init": {"kind": "normal", "std": 0.4, "name": "mine"},
        "norm": {"eps": 0.0, "momentum": 0.5, "initial_beta": 1.0, "initial_spread": 0.0},
        "model": {"dropout": 0.5},
        "seeds": 3,
    },
    {
        "init": {"kind": "uniform", "low": -0.5, "high": 0.2, "scale": 3.0, "scaled": "hidden"},
        "norm": {"eps": 0.1, "momentum": 1.0},
        "seeds": 1,
    },
    {
        "init": {"kind": "he_normal", "per_sqrt_fan_in": True},
        "norm": {"initial_beta": -0.25, "initial_spread": 4.0, "name": "other"},
        "model": {"dropout": 0.9},
        "first_seed": 1,
        "seeds": 2,
    },
)


def cell(shared, own):
    groups = ("model", "norm", "init", "optim")
    merged = {key: {**shared.get(key, {}), **own.get(key, {})} for key in groups}
    if shared["model"].get("dropout") == 0:
        merged["model"]["dropout"] = 0.0
    return make(**{**shared, **own, **merged})


FIRST = (RELU, {"correction": 1, "average": "var"}, {"optim": {"schedule": "constant"}})
OTHER = (TANH, {"average": "std", "learnable": False}, {"dtype": "float64", "every": 1})


@pytest.mark.parametrize(
    ("settings", "placement", "dropout_at", "group"),
    [
        *((FIRST, "before", place, 8) for place in (None, "before_norm", "last")),
        *((OTHER, "after", place, 8) for place in (None, "end", "last")),
        (FIRST, "after", "before_norm", 3),  # which splits the seeds of a cell
        (OTHER, "before", None, 5),
        *((kind, "none", "end", 8) for kind in (FIRST, OTHER)),
    ],
)
def test_the_rows_of_a_stack_are_those_of_each_cell_alone(settings, placement, dropout_at, group):
    model, norm, options = settings
    drops = {"dropout": 0.2, "dropout_at": dropout_at} if dropout_at else {"dropout": 0.0}
    shared = {"model": model | drops, "norm": norm | {"placement": placement}, **options}
    configs = [cell(shared, own) for own in CELLS]
    configs[2].optim.rate = 1e30 if configs[2].dtype == "float32" else 1e300
    found = assert_as_alone(configs, group)
    diverged = [any(values(rows, "diverged")) for rows in found]
    assert diverged == [False, False, True, False]
    assert any(math.isnan(row.value) for row in found[2])
    assert len({repr(values(rows, "batch_loss")) for rows in found}) == len(found)


@pytest.mark.parametrize(
    ("placement", "norm"),
    [
        *(("before", {}), ("before", {"kind": "ghost", "ghost": 16})),
        *(("after", {"kind": "ghost", "ghost": 4}), ("before", {"kind": "noisy"})),
        *(("after", {"kind": "variance_only"}), ("before", {"kind": "mean_only"})),
        *(("before", {"kind": "layer"}), ("after", {"kind": "rms"})),
    ],
)
def test_the_rows_of_other_kinds_and_of_the_population(placement, norm):
    norm = {"placement": placement, "average": "std", **norm}
    model = RELU | {"dropout": 0.0, "residual": placement == "before"}
    configs = [cell({"model": model, "norm": norm}, own) for own in CELLS]
    configs[3].norm.noise_scale, configs[3].norm.noise_shift = 1.5, 0.0
    found = assert_as_alone(configs, kinds=(*PROBES[:-2], *BY_POPULATION))
    assert len({repr(values(rows, "best_test_loss")) for rows in found}) == len(found)


def test_cells_of_one_seed_share_what_is_drawn_and_nothing_that_is_written():
    """Also an observer of units that never vary, as all under weights of 0, sees its own cell."""
    shared = {"model": {"dropout": 0.4}, "norm": {"placement": "before"}}
    flat = {"kind": "normal", "std": 0.0}
    configs = [make(**shared), make(**shared, init=flat, seeds=3), make(**shared)]
    configs.append(make(**shared, optim={"rate": 2.0}))
    one, still, twin, other = assert_as_alone(configs, group=9)
    assert list(map(repr, one)) == list(map(repr, twin))
    assert values(one, "batch_loss")[:2] == values(other, "batch_loss")[:2]
    assert values(one, "batch_loss") != values(other, "batch_loss")
    assert values(still, "zero_variance_share") == [1.0] * 3
    assert values(still, "zero_variance_step") == [0.0] * 3


def test_the_rows_of_networks_of_the_usual_size():
    """Wide enough for the library to block its products."""
    shared = {"data": {"train_examples": 0}, "model": {"width": 128, "depth": 2}}
    shared["optim"] = {"batch": 32, "steps": 3}
    norms = [{"placement": "before"}, {"placement": "before", "eps": 0.3, "momentum": 0.2}]
    assert_as_alone([make(**shared, norm=n, seeds=2 + i) for i, n in enumerate(norms)], group=5)


# Which cells --------------------------------------------------------------------------------------

MAY_DIFFER = {
    *("optim.rate", "optim.min_rate", "model.dropout", "model.name", "seeds", "first_seed"),
    *("init.kind", "init.std", "init.scale", "init.low", "init.high", "init.per_sqrt_fan_in"),
    *("init.scaled", "init.bias", "init.name", "norm.eps", "norm.momentum", "norm.name"),
    *("norm.initial_spread", "norm.initial_beta", "norm.noise_shift", "norm.noise_scale"),
    *("backend.name", "tracker.name", "tracker.uri"),
    *("results", "force", "retry_failed"),
    *("tuning.seeds", "tuning.first_seed", "tuning.metric"),
}


def planned(configs, backend=NUMPY):
    """The stacks, by the places of their cells in the list."""
    cells = [Cell.of(config) for config in configs]
    place = {id(cell): i for i, cell in enumerate(cells)}
    return [[place[id(cell)] for cell in stack] for stack in split_into_stacks(cells, backend)]


def test_every_key_may_differ_in_a_stack_or_may_not(changes):
    base = make(model={"dropout": 0.5}, norm={"placement": "before"})
    for key, other in changes(base).items():
        expected = [[0, 1, 2]] if key in MAY_DIFFER else [[0, 2], [1]]
        assert planned([base, other, base]) == expected, key
    never = make(model={"dropout": 0.0}, norm={"placement": "before"})
    for other in (never, replace(base, name="rate_sweep")):
        assert planned([base, other, base]) == [[0, 2], [1]]


def test_stacks_are_filled_and_stand_in_the_order_of_their_first_cells():
    assert get("depth_grid").stacking.group == 10
    tanh, relu = make(seeds=4), make(seeds=4, model={"activation": "relu"})
    whole, large, exact = make(seeds=10), make(seeds=11), Config(name="exact")
    configs = [tanh, relu, tanh, tanh, relu, exact, tanh, whole, large, tanh, tanh, exact]
    assert planned(configs) == [[0, 2], [1, 4], [3, 6], [5], [7], [8], [9, 10], [11]]
    many = [make(seeds=10, optim={"rate": n / 100}) for n in range(1, 201)]
    assert [len(stack) for stack in planned(many)] == [1] * 200
    assert [len(stack) for stack in planned(many, GPU)] == [102, 98]


# One that fails -----------------------------------------------------------------------------------


@pytest.fixture
def measured(fake, monkeypatch):
    """measured(inits): what a stack of fake cells measures; it raises what any of them raises."""

    def run_the_stack(configs, context):
        for config in configs:
            if config.init.name in fake.fail:
                raise fake.fail[config.init.name]
        return [[Observation(0, 0, None, config.init.name, 1.0)] for config in configs]

    module = sys.modules["gpubn.experiments.fake"]
    stacking = Stacking(run_the_stack, ("init", "seeds"), lambda config: None, group=100)
    replaced = SimpleNamespace(FAKE=replace(module.FAKE, stacking=stacking))
    monkeypatch.setitem(sys.modules, "gpubn.experiments.fake", replaced)
    context = Context(NUMPY, lambda n: None)
    return lambda inits: run_stack([fake.cell(init).config for init in inits], context)


def test_a_stack_is_measured_at_once_and_one_cell_by_itself(measured, fake):
    assert [rows[0].metric for rows in measured("abc")] == ["a", "b", "c"]
    assert measured("d") == [fake.rows]
    assert fake.calls == ["d"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("two\nlines"), "ValueError: two lines"),
        (MemoryError(), "MemoryError"),
        (ConfigError("no"), "no"),
    ],
)
def test_one_failing_cell_of_a_stack_fails_alone(measured, fake, error, sentence):
    fake.fail["b"] = error
    a, b, c = measured("abc")
    assert (a, c) == (fake.rows, fake.rows)
    assert isinstance(b, Failure)
    assert b.sentence == sentence
    assert "in run\n    raise state.fail[config.init.name]" in b.traceback
    assert b.traceback.rstrip().endswith(f"{type(error).__name__}: {error}".strip(": "))


@pytest.mark.parametrize(
    "error", [BackendError("b"), DataError("d"), StoreError("s"), KeyboardInterrupt()], ids=repr
)
def test_what_is_not_the_fault_of_a_cell_is_raised(measured, fake, error):
    fake.fail["b"] = error
    with pytest.raises(type(error)) as caught:
        measured("abc")
    assert caught.value is error
    assert "a" not in fake.calls
