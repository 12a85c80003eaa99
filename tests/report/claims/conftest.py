"""Planted tables and ledgers: what the rules see is known."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from gpubn.report.claims import ledger
from gpubn.report.claims.decide import decide_claims
from gpubn.report.claims.measure import table_reader
from gpubn.report.figures import drawing as figures
from gpubn.report.tables import write_table
from gpubn.rows import SCHEMA_VERSION, Observation, per_seed

COLOURS = ("red", "blue", "green", "grey")


def _claim(id_="A1", **changes):
    """A claim of the ledger: `gain` is above 1 in a table of one row a seed."""
    return {
        "id": id_,
        "claim": "The gain is above one.",
        "published": "1.5",
        "kind": "effect",
        "matters": {"value": 1, "basis": "margin", "why": "one is much"},
        **{"predicted": "reproduced", "reason": "it gains", "source": "a book"},
        **{"threat": "one machine", "excluded": "two machines"},
        "measures": {"x": {"table": "t", "metric": "gain", "where": {"norm": "before"}}},
        "quantities": {"gain": {"value": "x", "unit": "times", "label": "the gain"}},
        "cases": [{"quantity": "gain"}],
    } | copy.deepcopy(changes)


@pytest.fixture
def claim():
    """claim(id, **changes): an entry of the ledger, of which `changes` replace whole fields."""
    return _claim


@pytest.fixture
def world(tmp_path, monkeypatch):
    """world.table(stem, parts), world.ledger(*claims), world.decide(): id -> decision."""
    monkeypatch.setattr(figures, "SCRIPTS", tmp_path / "scripts")

    def table(stem, parts, folder="results/tables", schema=SCHEMA_VERSION, **config):
        path = tmp_path / folder / f"{stem}.csv"
        write_table(path, parts, {"schema": schema, "config": config})

    def of_seeds(values):
        return per_seed(range(len(values)), "gain", np.asarray(values, float))

    def gains(values, stem="t", folder="results/tables"):
        """One row a seed with the metric `gain`."""
        table(stem, [({"norm": "before"}, of_seeds(values))], folder)

    def plant(*arms, id_="A1", printed=(), **changes):
        """A table `id_` whose arms have these values, and a claim with a case for each."""
        names = COLOURS[: len(arms)]
        table(id_, [({"arm": n}, of_seeds(x)) for n, x in zip(names, arms, strict=True)])
        place = {"table": id_, "metric": "gain"}
        cases = [{"quantity": name, "when": f"it is {name}"} for name in names]
        if len(cases) == 1:
            del cases[0]["when"]
        for case, values in zip(cases, printed, strict=False):
            case["published"] = list(values)
        parts = {
            "measures": {f"in_{name}": place | {"where": {"arm": name}} for name in names},
            "quantities": {name: {"value": f"in_{name}", "unit": "times"} for name in names},
            "cases": cases,
        }
        return _claim(id_, **parts | changes)

    def book(*claims):
        folder = tmp_path / "ledger"
        folder.mkdir(exist_ok=True)
        for letter in {c["id"][0] for c in claims}:
            mine = [c for c in claims if c["id"][0] == letter]
            document = {"document": letter, "title": f"Title {letter}", "claims": mine}
            (folder / f"{letter}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        return folder

    def fresh():
        """The tables as they stand now."""
        return table_reader(lambda stem: tmp_path / "results" / "tables" / f"{stem}.csv")

    def decided(*claims):
        return {d.id: d for d in decide_claims(ledger.load_ledger(book(*claims)), fresh())}

    return SimpleNamespace(
        results=tmp_path / "results",
        table=table,
        gains=gains,
        plant=plant,
        ledger=book,
        decide=decided,
        fresh=fresh,
    )


@pytest.fixture
def layered(world):
    """Table `t`: value of (init, seed, layer) is 10 ** (-layer) * (1 + seed) for init a."""
    arms = (("a", "0.1", 1), ("b", "1.0", 2), ("nan", "10", 3))
    places = [(step, layer, seed) for step in (0, 5) for layer in range(1, 5) for seed in (2, 0, 1)]

    def rows(factor):
        value = {layer: factor * 10.0**-layer for layer in range(1, 5)}
        return [Observation(n, step, at, "var", value[at] * (1 + n)) for step, at, n in places]

    world.table("t", [({"init": init, "rate": rate}, rows(f)) for init, rate, f in arms])
