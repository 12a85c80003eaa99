"""Cells that are measured as one program: which ones, in which order, and to the bits of alone."""

import dataclasses
import math
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubn.backend import Backend, resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.errors import BackendError, ConfigError, DataError, StoreError
from gpubn.experiments import Context, get
from gpubn.experiments.base import Stacking
from gpubn.experiments.probes.activations import Histograms, Percentiles, Saturation, UnitMeans
from gpubn.experiments.probes.drift import Drift
from gpubn.experiments.probes.generalisation import Generalisation
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios
from gpubn.experiments.probes.normalisation import NormInputVariance, NormParameters, ZeroVariance
from gpubn.experiments.training import trainer
from gpubn.rows import Failure, Observation
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.stacks import run_stack, split_into_stacks
from gpubn.sweeps.store.cell_store import CellStore

NUMPY = resolve("numpy")
GPU = Backend("cupy", np, "a GPU", 1)
PROBES = (
    *(partial(kind, 2) for kind in (Saturation, Percentiles, UpdateRatios, Drift, GradientShift)),
    *(partial(NormParameters, 2), partial(Histograms, 2, bins=6), partial(Generalisation, 2)),
    *(UnitMeans, ZeroVariance, NormInputVariance),
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


def train(configs, group, kinds=PROBES):
    context = Context(replace(NUMPY, workers=2))
    probes = lambda config: [probe() for probe in kinds]  # noqa: E731
    return trainer.train_cells(configs, context, probes=probes, group=group, evaluated=40)


def assert_as_alone(configs, group, kinds=PROBES):
    """The rows of each cell, in one stack, are those it has alone, to the last bit."""
    together = train(configs, group, kinds)
    for config, rows in zip(configs, together, strict=True):
        (alone,) = train([config], group, kinds)
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
    ("settings", "placement", "dropout_at"),
    [
        *((FIRST, "before", place) for place in (None, "before_norm", "end", "last")),
        *((OTHER, "after", place) for place in (None, "before_norm", "end", "last")),
        *((kind, "none", "end") for kind in (FIRST, OTHER)),
        (FIRST, "after", "before_norm"),
        (OTHER, "before", None),
    ],
)
def test_the_rows_of_a_stack_are_those_of_each_cell_alone(settings, placement, dropout_at):
    model, norm, options = settings
    drops = {"dropout": 0.2, "dropout_at": dropout_at} if dropout_at else {"dropout": 0.0}
    shared = {"model": model | drops, "norm": norm | {"placement": placement}, **options}
    configs = [cell(shared, own) for own in CELLS]
    configs[2].optim.rate = 1e30 if configs[2].dtype == "float32" else 1e300
    found = assert_as_alone(configs, group=8)  # all in one program
    diverged = [any(values(rows, "diverged")) for rows in found]
    assert diverged == [False, False, True, False]
    assert any(math.isnan(row.value) for row in found[2])
    assert len({repr(values(rows, "batch_loss")) for rows in found}) == len(found)


@pytest.mark.parametrize(("placement", "ghost"), [("before", 0), ("before", 16), ("after", 4)])
def test_the_rows_of_ghost_batches_and_of_the_population(placement, ghost):
    norm = {"placement": placement, "ghost": ghost, "average": "std"}
    configs = [cell({"model": RELU | {"dropout": 0.0}, "norm": norm}, own) for own in CELLS]
    found = assert_as_alone(configs, group=8, kinds=(*PROBES[:-2], *BY_POPULATION))
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
    assert max(values(one, "zero_variance_share")) < 1
    assert values(still, "zero_variance_share") == [1.0] * 3
    assert values(still, "zero_variance_step") == [0.0] * 3


def test_the_rows_of_networks_of_the_usual_size():
    """Wide enough for the library to block its products."""
    norms = [{"placement": "before"}, {"placement": "before", "eps": 0.3, "momentum": 0.2}]
    configs = [
        make(data={"train_examples": 0}, model={"width": 128, "depth": 2}, norm=norm, seeds=seeds)
        for norm, seeds in zip(norms, (2, 3), strict=True)
    ]
    assert_as_alone([replace(c, optim=OptimConfig(batch=32, steps=3)) for c in configs], group=5)


numbers = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([1e-3, 0.1, 0.5, 3.0, 1e30]),
        "min_rate": st.sampled_from([0.0, 0.2]),
        "kind": st.sampled_from(["normal", "uniform", "glorot_uniform", "he_normal"]),
        "scale": st.sampled_from([1e-3, 1.0, 30.0]),
        "eps": st.sampled_from([0.0, 1e-5, 1.0]),
        "momentum": st.sampled_from([0.01, 0.1, 1.0]),
        "spread": st.sampled_from([0.0, 1.0]),
        "beta": st.sampled_from([0.0, -2.0]),
        "dropout": st.sampled_from([0.1, 0.5]),
        "seeds": st.integers(1, 4),
        "first_seed": st.integers(0, 2),
    }
)


@settings(max_examples=10)
@given(
    cells=st.lists(numbers, min_size=2, max_size=4),
    group=st.integers(1, 6),  # it may split the seeds of a cell
    placement=st.sampled_from(["none", "before", "after"]),
    drops=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_numbers_may_differ(cells, group, placement, drops, dtype):
    assert_as_alone(
        [
            make(
                model={"dropout": n["dropout"] if drops else 0.0},
                norm={
                    "placement": placement,
                    **{key: n[key] for key in ("eps", "momentum")},
                    **{"initial_spread": n["spread"], "initial_beta": n["beta"]},
                },
                init={key: n[key] for key in ("kind", "scale")},
                optim={"rate": n["rate"], "min_rate": n["min_rate"], "steps": 3},
                dtype=dtype,
                **{key: n[key] for key in ("seeds", "first_seed")},
            )
            for n in cells
        ],
        group,
    )


SWEEP = [
    *(make("rate_sweep", optim={"rate": rate}, seeds=3) for rate in (0.1, 0.3, 1e30)),
    *(make("recipe", norm={"placement": "before", "eps": eps}) for eps in (0.0, 0.1)),
    *(make("mnist_init", init={"scale": scale}) for scale in (0.1, 1.0)),
    *(make("diagnostics", norm={"placement": "after", "momentum": m}) for m in (0.1, 0.9)),
]


def test_the_store_holds_the_same_however_it_was_run(outcomes, tmp_path):
    cells = [Cell.of(config) for config in SWEEP]
    assert len(split_into_stacks(cells, NUMPY)) < len(cells)
    single, store = CellStore(tmp_path / "alone"), CellStore(tmp_path / "cells")
    alone = {cell.id: o.result for cell in cells for o in outcomes([cell], single)}
    found = outcomes(cells, store, processes=2)
    assert {o.cell.id: o.result.digest for o in found} == {i: r.digest for i, r in alone.items()}
    for cell in cells:
        assert repr(store.get(cell).rows) == repr(alone[cell.id].rows)
        assert {*store.get(cell).provenance} == {*alone[cell.id].provenance}


# Which cells --------------------------------------------------------------------------------------

MAY_DIFFER = {
    **{"optim.rate": 0.3, "optim.min_rate": 0.2},
    **{"init.kind": "normal", "init.std": 0.3, "init.scale": 3.0, "init.name": "mine"},
    **{"init.low": -1.0, "init.high": 7.0, "init.per_sqrt_fan_in": True, "init.scaled": "hidden"},
    **{"norm.eps": 0.0, "norm.momentum": 0.7, "norm.name": "mine"},
    **{"norm.initial_spread": 3.0, "norm.initial_beta": 1.0},
    **{"model.dropout": 0.9, "model.name": "mine", "seeds": 3, "first_seed": 9},
    **{"backend.name": "numpy", "tracker.name": "mlflow", "tracker.uri": "here"},
    **{"results": "elsewhere", "force": True, "retry_failed": True},
}
MAY_NOT = {
    **{"optim.steps": 9, "optim.batch": 8, "optim.schedule": "constant", "optim.name": "mine"},
    **{"model.width": 9, "model.depth": 3, "model.activation": "relu", "model.dropout_at": "last"},
    **{"norm.placement": "after", "norm.correction": 1, "norm.average": "std"},
    **{
        "norm.ghost": 8,
        "norm.learnable": False,
        "model.dropout": 0.0,
        "every": 3,
        "dtype": "float64",
    },
    **{"data.name": "mnist", "data.root": "here", "data.train_examples": 9},
    **{"data.examples": 9, "data.features": 9, "arithmetic": "published", "name": "rate_sweep"},
}


def changed(config, key, value):
    group, _, name = key.rpartition(".")
    if not group:
        return replace(config, **{name: value})
    return replace(config, **{group: replace(getattr(config, group), **{name: value})})


def planned(configs, backend=NUMPY):
    """The stacks, by the places of their cells in the list."""
    cells = [Cell.of(config) for config in configs]
    place = {id(cell): i for i, cell in enumerate(cells)}
    return [[place[id(cell)] for cell in stack] for stack in split_into_stacks(cells, backend)]


BASE = make(model={"dropout": 0.5}, norm={"placement": "before"})


def test_every_key_may_differ_in_a_stack_or_may_not():
    groups = [f for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.type)]
    keys = {f"{g.name}.{f.name}" for g in groups for f in dataclasses.fields(g.type)}
    keys |= {f.name for f in dataclasses.fields(Config)} - {g.name for g in groups}
    assert {*MAY_DIFFER} | {*MAY_NOT} == keys
    assert {*MAY_DIFFER} & {*MAY_NOT} == {"model.dropout"}  # some, or none
    for table, stacks in ((MAY_DIFFER, [[0, 1, 2]]), (MAY_NOT, [[0, 2], [1]])):
        for key, value in table.items():
            other = changed(BASE, key, value)
            assert other != BASE
            assert planned([BASE, other, BASE]) == stacks, key


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
def stackable(fake, monkeypatch):
    """The experiment `fake` with a stack that raises what any of its cells raises.

    stacked counts the cells of its stacks; cells(inits) are its cells.
    """

    def run_the_stack(configs, context):
        state.stacked.append(len(configs))
        for config in configs:
            if config.init.name in fake.fail:
                raise fake.fail[config.init.name]
        return [[Observation(0, 0, None, config.init.name, 1.0)] for config in configs]

    module = sys.modules["gpubn.experiments.fake"]
    stacking = Stacking(run_the_stack, ("init", "seeds"), lambda config: None, group=100)
    replaced = SimpleNamespace(FAKE=replace(module.FAKE, stacking=stacking))
    monkeypatch.setitem(sys.modules, "gpubn.experiments.fake", replaced)
    state = SimpleNamespace(stacked=[], cells=lambda inits: [fake.cell(init) for init in inits])
    return state


def measured(cells):
    return run_stack([cell.config for cell in cells], Context(NUMPY, lambda n: None))


def test_a_stack_is_measured_at_once_and_one_cell_by_itself(stackable, fake):
    found = measured(stackable.cells("abc"))
    assert [rows[0].metric for rows in found] == ["a", "b", "c"]
    assert (stackable.stacked, fake.calls) == ([3], [])
    assert measured(stackable.cells("d")) == [fake.rows]
    assert (stackable.stacked, fake.calls) == ([3], ["d"])


@pytest.mark.parametrize("error", [ValueError("two\nlines"), MemoryError(), ConfigError("no")])
def test_one_failing_cell_of_a_stack_fails_alone(stackable, fake, error):
    fake.fail["b"] = error
    a, b, c = measured(stackable.cells("abc"))
    assert (a, c) == (fake.rows, fake.rows)
    assert isinstance(b, Failure)
    known = isinstance(error, ConfigError)
    text = " ".join(str(error).split())
    assert b.sentence == ("no" if known else f"{type(error).__name__}: {text}".strip())
    assert "in run\n    raise state.fail[config.init.name]" in b.traceback
    assert b.traceback.rstrip().endswith(f"{type(error).__name__}: {error}".strip(": "))


@pytest.mark.parametrize(
    "error",
    [BackendError("b"), DataError("d"), StoreError("s"), KeyboardInterrupt(), SystemExit()],
    ids=repr,
)
@pytest.mark.parametrize("inits", ["b", "abc"])
def test_what_is_not_the_fault_of_a_cell_is_raised(stackable, fake, error, inits):
    fake.fail["b"] = error
    with pytest.raises(type(error)) as caught:
        measured(stackable.cells(inits))
    assert caught.value is error
    assert "a" not in fake.calls
