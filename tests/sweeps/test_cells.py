"""A cell's id: the same for the same numbers, another for any other, on every machine."""

import pytest

from gpubn import experiments
from gpubn.config import Config, DataConfig
from gpubn.sweeps.cells import Cell, Names
from gpubn.sweeps.compose import expand

LABELS = ("model.name", "norm.name", "init.name", "optim.name")
NEVER = {"backend.name", "tracker.name", "tracker.uri", "results", "force", "retry_failed"}
NEVER |= {f"tuning.{key}" for key in ("seeds", "first_seed", "metric")}
NEVER |= {"universe.name", "universe.steps"}


def covers(experiment, key):
    """Whether `key` is part of an experiment's identity."""
    if key in (*experiment.axes.values(), *experiment.keys):
        return True
    return key not in LABELS and any(key.startswith(f"{group}.") for group in experiment.keys)


@pytest.mark.parametrize("name", experiments.names())
def test_the_id_changes_with_every_key_of_the_identity_and_no_other(name, changes):
    config, experiment = Config(name=name, seeds=7, first_seed=3), experiments.get(name)
    cell = Cell.of(config)
    assert {"seeds": 7, "first_seed": 3, "dtype": config.dtype}.items() <= cell.settings.items()
    assert cell.identity["axes"] == cell.axes
    assert list(cell.axes) == list(experiment.axes)
    ids, without = {cell.id}, set()
    for key, other in changes(config).items():
        id = Cell.of(other).id
        assert (id not in ids) == covers(experiment, key), key
        without |= {key} if id == cell.id else set()
        ids.add(id)
    assert without >= NEVER | {"data.root", *({"model.name"} - {*experiment.axes.values()})}


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
    assert cell.id == "ec21919b7790"
    assert str(cell) == "mnist_init (data=digits, init=small, norm=before)"


def test_cells_are_called_by_their_axes_and_namesakes_by_what_tells_them_apart():
    cells = []
    for rate, eps, seeds in ((0.1, 0.1, 2), (0.1, 0.2, 2), (0.1, 0.1, 3), (0.2, 0.7, 9)):
        config = Config(name="rate_sweep", data=DataConfig("digits"), seeds=seeds)
        config.optim.rate, config.norm.eps = rate, eps
        cells.append(Cell.of(config))
    start = "rate_sweep (data=digits, norm=none, activation=tanh, rate="
    assert list(map(Names(cells), cells)) == [
        f"{start}0.1, norm.eps=0.1, seeds=2)",
        f"{start}0.1, norm.eps=0.2, seeds=2)",
        f"{start}0.1, norm.eps=0.1, seeds=3)",
        f"{start}0.2)",
    ]
