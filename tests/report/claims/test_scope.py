"""Scope: the network that a verdict is about, from planted provenance."""

import re

import pytest

from gpubn.report.claims import ledger
from gpubn.report.claims.scope import scope
from gpubn.rows import Observation

ROWS = [Observation(0, 0, 1, "m", 1.0)]
TRAINED = {
    **{"data.name": "mnist", "data.train_examples": 0, "seeds": 10},
    **{"model.depth": 2, "model.width": 64, "model.activation": "tanh"},
    **{"init.kind": "glorot_normal", "optim.rate": 0.1, "optim.schedule": "constant"},
    **{"optim.batch": 32, "optim.steps": 1500},
}
TRAINED_TEXT = (
    "2 hidden layers of 64 tanh units, weights Glorot normal, MNIST, 1,500 steps of batch 32, "
    "rate 0.1, constant, 10 seeds"
)
FRESH = {
    **{"data.name": "gaussian", "data.examples": 1000, "init.kind": "he_normal", "seeds": 20},
    **{"model.depth": 20, "model.width": 100, "model.activation": "relu"},
}
FRESH_TEXT = (
    "20 layers of 100 ReLU units, weights He normal, at initialisation, standard normal input, "
    "1,000 examples, 20 seeds"
)


@pytest.fixture
def about(world, claim):
    """about(config, axes, *measures): the scope of a claim that rests on measures of one table."""

    def find(config, axes, *measures):
        levels = max(map(len, axes.values()))
        cells = [{c: v[n % len(v)] for c, v in axes.items()} for n in range(levels)]
        world.table("t", [(cell, ROWS) for cell in cells], **config)
        measured = {f"x{n}": {"table": "t", "metric": "m"} | m for n, m in enumerate(measures)}
        value = " + ".join(measured)
        entry = claim(measures=measured, quantities={"gain": {"value": value, "unit": "u"}})
        return scope(ledger.load_ledger(world.ledger(entry)).claims["A1"], world.fresh())

    return find


@pytest.mark.parametrize(
    ("config", "axes", "measures", "text"),
    [
        (
            TRAINED | {"data.name": None, "optim.schedule": "linear", "data.train_examples": 100},
            {
                "data": ["digits", "mnist"],
                "activation": ["relu", "tanh", "sigmoid"],
                "depth": ["10", "5", "20"],
                "init": ["small", "he", "rand"],
                "rate": ["10.0", "0.01", "0.1", "1.0", "0.032"],
            },
            [
                {"where": {"data": "digits", "activation": a, "depth": d, "init": i}}
                for a, d, i in (("relu", 5, "he"), ("sigmoid", 20, "small"), ("relu", 5, "he"))
            ],
            "5 or 20 hidden layers of 64 ReLU or logistic units, weights He normal or "
            "N(0, 0.01²), scikit-learn's 8 × 8 digits, NOT MNIST, 100 training images a seed, "
            "1,500 steps of batch 32, rates 0.01 to 10.0, falling linearly, 10 seeds",
        ),
        (
            FRESH,
            {"batch": ["8", "512", "1000"]},
            [{"along": "batch", "reduce": "max"}],
            FRESH_TEXT.replace("1,000 examples", "8 to 1,000 examples"),
        ),
        (
            {"backend": "numpy", "rounds": 9, "model.width": 128, "data.examples": None},
            {"shape": ["none-1"]},
            [{}],
            "timed on numpy, 9 rounds",
        ),
    ],
)
def test_the_scope_of_a_table(about, config, axes, measures, text):
    assert about(config, axes, *measures) == text


@pytest.mark.parametrize("config", [TRAINED, FRESH])
def test_provenance_of_which_a_part_is_missing(about, config):
    """The rest is told, and no gap is left behind."""
    for key in config:
        text = about({k: v for k, v in config.items() if k != key}, {"norm": ["none"]}, {})
        assert not re.search(r"^[,; ]| ,|  |[, ]$", text)


def test_two_tables_and_one_that_decides_nothing(world, claim):
    tables = {"t": TRAINED, "u": FRESH, "v": TRAINED | {"seeds": 99}, "w": FRESH}
    for stem, config in tables.items():
        world.table(stem, [({"norm": "none"}, ROWS)], **config)
    entry = claim(
        measures={stem: {"table": stem, "metric": "m"} for stem in "tuvw"},
        quantities={
            "sum": {"value": "t + w", "unit": "u"},
            "gain": {"value": "sum + u", "unit": "u"},
            "rest": {"value": "v", "unit": "u"},
        },
    )
    book = ledger.load_ledger(world.ledger(entry))
    assert scope(book.claims["A1"], world.fresh()) == f"{TRAINED_TEXT}; {FRESH_TEXT}"
    (world.results / "tables" / "t.csv").unlink()
    assert scope(book.claims["A1"], world.fresh()) == FRESH_TEXT
