"""Scope: the network that a verdict is about. The committed claims show what is said of it."""

import re

import pytest

from gpubn.report.claims import ledger
from gpubn.report.claims.scope import scope
from gpubn.rows import Observation

TRAINED = {
    **{"data.name": "digits", "data.train_examples": 0, "seeds": 10},
    **{"model.depth": 2, "model.width": 64, "model.activation": "tanh"},
    **{"init.kind": "glorot_normal", "optim.rate": 0.1, "optim.schedule": "constant"},
    **{"optim.batch": 32, "optim.steps": 1500},
}
FRESH = {
    **{"data.name": "gaussian", "data.examples": 1000, "init.kind": "he_normal", "seeds": 20},
    **{"model.depth": 20, "model.width": 100, "model.activation": "relu"},
}


@pytest.fixture
def about(world, claim):
    """about({table: config}, **quantities): the scope of a claim with a measure of each table."""

    def find(configs, **formulas):
        rows = [({"norm": "none"}, [Observation(0, 0, 1, "m", 1.0)])]
        for stem, config in configs.items():
            world.table(stem, rows, **config)
        entry = claim(
            measures={stem: {"table": stem, "metric": "m"} for stem in configs},
            quantities={name: {"value": f, "unit": "u"} for name, f in formulas.items()},
        )
        return scope(ledger.load_ledger(world.ledger(entry)).claims["A1"], world.fresh())

    return find


@pytest.mark.parametrize("config", [TRAINED, FRESH])
def test_provenance_of_which_a_part_is_missing(about, config):
    """The rest is told, and no gap is left behind."""
    for key in config:
        text = about({"t": {k: v for k, v in config.items() if k != key}}, gain="t")
        assert not re.search(r"^[,; ]| ,|  |[, ]$", text)


def test_two_tables_and_one_that_decides_nothing(about):
    configs = {stem: {"seeds": seeds} for stem, seeds in zip("tuvw", (10, 20, 99, 20), strict=True)}
    formulas = {"sum": "t + w", "gain": "sum + u", "rest": "v"}
    assert about(configs, **formulas) == "10 seeds; 20 seeds"
