"""Planted tables and ledgers: what the rules see is known."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from gpubn.claims import decide_all
from gpubn.claims.measure import Tables
from gpubn.records import SCHEMA_VERSION, Observation, per_seed
from gpubn.tables import write_table


def _claim(id_="A1", **changes):
    """A claim of the ledger: `gain` is above 1 in a table of one row a seed."""
    return {
        "id": id_,
        "claim": "The gain is above one.",
        "published": "1.5",
        "contradicted_by": "A gain below one.",
        "thresholds": {"one": {"value": 1.0, "basis": "words", "why": "above one"}},
        "measures": {"x": {"table": "t", "metric": "gain", "where": {"norm": "before"}}},
        "quantities": {"gain": {"value": "x", "unit": "times", "label": "the gain"}},
        "headline": "gain",
        "verdicts": [
            {"if": "above(gain, one)", "verdict": "reproduced"},
            {"if": "below(gain, one)", "verdict": "contradicted"},
            {"else": "not reproduced"},
        ],
    } | copy.deepcopy(changes)


@pytest.fixture
def claim():
    """claim(id, **changes): an entry of the ledger, of which `changes` replace whole fields."""
    return _claim


@pytest.fixture
def world(tmp_path):
    """world.table(stem, parts), world.ledger(*claims), world.decide(): id -> decision."""

    def table(stem, parts, folder="results/tables", schema=SCHEMA_VERSION):
        path = tmp_path / folder / f"{stem}.csv"
        write_table(path, parts, {"schema": schema})
        return path

    def gains(values, stem="t", **axes):
        """One row a seed with the metric `gain`."""
        rows = per_seed(range(len(values)), "gain", np.asarray(values, float))
        return table(stem, [({"norm": "before", **axes}, rows)])

    def ledger(*claims):
        folder = tmp_path / "ledger"
        folder.mkdir(exist_ok=True)
        for letter in {c["id"][0] for c in claims}:
            mine = [c for c in claims if c["id"][0] == letter]
            document = {"document": letter, "title": f"Title {letter}", "claims": mine}
            (folder / f"{letter}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        return folder

    def decide(*claims, also=()):
        found = decide_all(
            tmp_path / "results",
            also,
            rules=ledger(*claims),
            expected=tuple(c["id"] for c in claims),
        )
        return {decision.id: decision for decision in found}

    tables = Tables(lambda stem: tmp_path / "results" / "tables" / f"{stem}.csv")
    return SimpleNamespace(
        results=tmp_path / "results",
        table=table,
        gains=gains,
        ledger=ledger,
        decide=decide,
        tables=tables,
    )


@pytest.fixture
def layered(world):
    """Table `t`: value of (init, seed, layer) is 10 ** (-layer) * (1 + seed) for init a."""
    parts = [
        (
            {"init": init, "rate": rate},
            [
                Observation(seed, step, layer, "var", factor * (1 + seed) * 10.0**-layer)
                for step in (0, 5)
                for layer in range(1, 5)
                for seed in (2, 0, 1)
            ],
        )
        for init, rate, factor in (("a", "0.1", 1), ("b", "1.0", 2), ("nan", "10", 3))
    ]
    return world.table("t", parts)
