"""A cell's id: the same for the same numbers, another for any other, on every machine."""

import copy
import dataclasses

import pytest

from gpubn import experiments
from gpubn.config import Config, DataConfig
from gpubn.sweeps.cells import Cell, Names, _at
from gpubn.sweeps.compose import expand

OTHER_WORD = {
    "data.name": ("digits", "mnist", "gaussian"),
    "model.activation": ("relu", "tanh"),
    "norm.placement": ("before", "after"),
    "norm.average": ("std", "var"),
    "init.scaled": ("hidden", "all"),
    "init.kind": ("he_normal", "normal"),
    "optim.schedule": ("constant", "linear"),
    "arithmetic": ("published", "corrected"),
    "dtype": ("float64", "float32"),
}
LABELS = ("model.name", "norm.name", "init.name", "optim.name")


def leaves(config, prefix=""):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        key = prefix + field.name
        yield from leaves(value, f"{key}.") if dataclasses.is_dataclass(value) else (key,)


def changed(config, key):
    """The configuration with another valid value at `key`."""
    out = copy.deepcopy(config)
    *groups, name = key.split(".")
    owner = _at(out, ".".join(groups)) if groups else out
    old = getattr(owner, name)
    if isinstance(old, bool):
        new = not old
    elif isinstance(old, int):
        new = 1 if key == "norm.correction" else old + 3
    elif isinstance(old, float):
        new = old * 0.5 + 0.2
    elif key in OTHER_WORD:
        new = next(word for word in OTHER_WORD[key] if word != old)
    else:
        new = "other"
    setattr(owner, name, new)
    return out


def covers(experiment, key):
    """Whether `key` is part of an experiment's identity."""
    inside = any(key == k or key.startswith(f"{k}.") for k in experiment.keys)
    return key in experiment.axes.values() or (
        inside and (key not in LABELS or key in experiment.keys)
    )


@pytest.mark.parametrize("name", experiments.names())
def test_the_id_changes_with_every_key_of_the_identity_and_no_other(name):
    config, experiment = Config(name=name, seeds=7, first_seed=3), experiments.get(name)
    cell = Cell.of(config)
    assert {"seeds": 7, "first_seed": 3, "dtype": config.dtype}.items() <= cell.settings.items()
    assert cell.identity["axes"] == cell.axes
    assert list(cell.axes) == list(experiment.axes)
    assert all(isinstance(value, str) for value in cell.axes.values())
    ids = {cell.id}
    for key in set(leaves(config)) - {"name"}:
        other = changed(config, key)
        assert other != config
        id = Cell.of(other).id
        assert (id not in ids) == covers(experiment, key), key
        ids.add(id)
    for key in ("backend.name", "tracker.name", "tracker.uri", "results", "force", "retry_failed"):
        assert not covers(experiment, key)
    assert not covers(experiment, "data.root")
    assert not covers(experiment, "model.name")


BASE = ("data=digits", "init=small", "norm=before", "norm.eps=0.01", "optim.rate=1")


@pytest.mark.parametrize(
    "overrides",
    [
        ("experiment=mnist_init", *BASE),
        (
            *("norm=before", "norm.eps=1e-2", "optim.rate=1.0", "experiment=mnist_init"),
            *("data.root=/nowhere", "model.name=mine", "backend=numpy", "results=x", "force=true"),
            *("seeds=10", "data.name=digits", "init.name=small", "init.kind=normal"),
            *("init.std=0.01", "init=rand", "init.high=1"),
        ),
    ],
)
def test_the_way_to_a_cell_does_not_matter(overrides):
    """The id is pinned: it changes with the schema, and then every finished cell runs again."""
    (cell,) = expand(overrides)
    assert cell.id == "1484b3406f4e"
    assert str(cell) == "mnist_init (data=digits, init=small, norm=before)"


def cells_of(**values):
    """Cells of the rate sweep, one for each of the lists' first values, second values, ..."""
    cells = []
    for row in zip(*values.values(), strict=True):
        config = Config(name="rate_sweep", data=DataConfig("digits"))
        for key, value in zip(values, row, strict=True):
            group, _, name = key.rpartition("__")
            setattr(getattr(config, group) if group else config, name, value)
        cells.append(Cell.of(config))
    return cells


def called(cells):
    return [Names(cells)(cell) for cell in cells]


def test_cells_are_called_by_their_axes_where_that_tells_them_apart():
    cells = cells_of(optim__rate=[0.1, 0.2], norm__eps=[0.1, 0.2])
    assert called(cells) == [str(cell) for cell in cells]


def test_namesakes_are_called_by_what_tells_them_apart():
    cells = cells_of(
        optim__rate=[0.1, 0.1, 0.1, 0.2], norm__eps=[0.1, 0.2, 0.1, 0.7], seeds=[2, 2, 3, 9]
    )
    start = "rate_sweep (data=digits, norm=none, activation=tanh, rate="
    assert called(cells) == [
        f"{start}0.1, norm.eps=0.1, seeds=2)",
        f"{start}0.1, norm.eps=0.2, seeds=2)",
        f"{start}0.1, norm.eps=0.1, seeds=3)",
        f"{start}0.2)",
    ]
