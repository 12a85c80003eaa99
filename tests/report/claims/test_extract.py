"""Small tables: what the measures of a ledger read, in order, and the same verdicts out of it."""

import json

import pytest

from gpubn.errors import LedgerError, StoreError
from gpubn.report.claims import decide_all, ledger
from gpubn.report.claims.extract import extract
from gpubn.report.claims.ledger import load_ledger
from gpubn.report.claims.measure import Measure, measure, rows_read, table_reader
from gpubn.report.tables import read_table
from gpubn.rows import Observation


def rows(metric, factor):
    return [
        Observation(seed, step, layer, metric, factor * (1 + seed) * 10.0 ** (step / 5 - layer))
        for step in (0, 5, 10)
        for layer in (1, 2, 3)
        for seed in (1, 0, 2)
    ]


@pytest.fixture
def large(world):
    """A table with two metrics, three arms and two rates; its path."""
    cells = [
        ({"arm": arm, "rate": rate}, [*rows("loss", n + k), *rows("other", n)])
        for n, arm in enumerate("abc", 1)
        for k, rate in enumerate(("0.1", "1.0"))
    ]
    world.table("t", cells, seconds=3)
    world.table("unread", cells)
    return world.results / "tables" / "t.csv"


MEASURES = {
    "one layer at the end": {"where": {"arm": "a", "rate": 0.1}, "layer": 2, "step": "last"},
    "in the middle": {"where": {"arm": "c", "rate": "0.1"}, "layer": "middle", "step": "middle"},
    "first of all": {"where": {"arm": "b", "rate": 1}, "layer": "first", "step": "first"},
    "best": {"where": {"arm": "c"}, "layer": 3, "step": 5, "along": "rate", "reduce": "min"},
    "steps": {"where": {"arm": "a", "rate": "1.0"}, "layer": 1, "along": "step", "reduce": "mean"},
    "part": {
        **{"where": {"arm": "b", "rate": "0.1"}, "step": 10, "along": "layer", "reduce": "mean"},
        **{"from": 2, "to": 3},
    },
}


def some_claims(world, claim, **measures):
    """The one claim of a ledger that has these measures."""
    quantities = {f"of_{name}": {"value": name, "unit": "nats"} for name in measures}
    cases = [{"quantity": next(iter(quantities))}]
    entry = claim(measures=measures, quantities=quantities, cases=cases)
    (found,) = load_ledger(world.ledger(entry)).claims.values()
    return [found]


def test_a_small_table_gives_every_measure_its_value(world, claim, large, tmp_path):
    given = {
        name.replace(" ", "_"): {"table": "t", "metric": "loss", **m}
        for name, m in MEASURES.items()
    }
    claims = some_claims(world, claim, **given)
    unread = large.with_name("unread.csv")
    assert extract([large, unread], tmp_path / "small", claims) == [tmp_path / "small" / "t.csv"]
    small = tmp_path / "small" / "t.csv"
    header, *lines = large.read_text().splitlines()
    kept = small.read_text().splitlines()
    assert kept[0] == header
    assert kept[1:] == [line for line in lines if line in kept]  # in order, as they stand
    both = [table_reader({"t": path}.__getitem__) for path in (small, large)]
    expected = set()
    for one in given.values():
        wanted = Measure.read(one)
        (seeds, values), of_large = (
            (m.seeds, m.values) for m in (measure(wanted, t) for t in both)
        )
        assert (seeds, list(values)) == (of_large[0], list(of_large[1]))
        expected |= {lines[i] for i in rows_read(wanted, both[1]).index}
    assert sorted(kept[1:]) == sorted(expected)
    assert len(kept) < len(lines) / 4


def test_what_stands_beside_it_is_of_the_large_one(world, claim, large, tmp_path):
    claims = some_claims(
        world, claim, x={"table": "t", "metric": "other", **MEASURES["first of all"]}
    )
    extract([large], tmp_path / "small", claims)
    small = tmp_path / "small" / "t.csv"
    mine, its = (json.loads(path.with_suffix(".json").read_text()) for path in (small, large))
    assert mine.pop("rows") == "those that the ledger reads"
    assert mine.pop("sha256") != its.pop("sha256")
    assert mine == its
    assert set(read_table(small)["metric"]) == {"other"}
    times = [path.stat().st_mtime_ns for path in (small, small.with_suffix(".json"))]
    extract([large], tmp_path / "small", claims)
    assert [p.stat().st_mtime_ns for p in (small, small.with_suffix(".json"))] == times
    # What nobody reads any more goes; of what cannot be read off it says why.
    (arm,) = some_claims(world, claim, x={"table": "t", "metric": "loss", "where": {"arm": "z"}})
    extract([large], tmp_path / "small", [arm])
    assert set(read_table(small)["metric"]) == {"loss"}
    tables = table_reader({"t": small}.__getitem__)
    with pytest.raises(LedgerError, match="arm is 'z'; t has a, b, c"):
        measure(arm.measures["x"], tables)
    absent = some_claims(world, claim, x={"table": "t", "metric": "gone"})
    assert extract([large], tmp_path / "small", absent) == []
    assert list((tmp_path / "small").iterdir()) == []
    with pytest.raises(StoreError, match=r"no\.csv does not exist"):
        extract(
            [large.with_name("no.csv")],
            tmp_path,
            some_claims(world, claim, x={"table": "no", "metric": "m"}),
        )


def test_how_each_arm_ends_stands_in_a_small_table_too(world, claim, large, tmp_path):
    claims = some_claims(
        world, claim, x={"table": "t", "metric": "other", **MEASURES["first of all"]}
    )
    unread = large.with_name("unread.csv")
    for metric in ("loss", "gone"):
        (small,) = extract([large, unread], tmp_path, claims, metric)
        note = json.loads(small.with_suffix(".json").read_text())["rows"]
        assert note == f"those that the ledger reads, and all of {metric} at the end"
        assert read_table(small)["metric"].value_counts().get(metric, 0) == (metric == "loss") * 54
    extract([large], tmp_path, claims, "loss")
    table = read_table(small)
    ends = table[table["metric"] == "loss"]
    assert {*ends["step"]} == {10}
    assert ends.groupby(["arm", "rate", "layer"])["seed"].nunique().tolist() == [3] * 18


def test_what_lacks_a_seed_or_has_one_twice_is_refused_of_the_small_table_too(
    world, claim, tmp_path
):
    values = [Observation(seed, step, None, "loss", 1.0) for seed in (0, 1) for step in (0, 5)]
    path = world.results / "tables" / "lost.csv"
    world.table("lost", [({"arm": "a"}, values[:-1]), ({"arm": "b"}, values[::2])])
    one = {"table": "lost", "metric": "loss"}
    lacks = {**one, "where": {"arm": "a"}, "step": 5}
    twice = {**one, "step": 5}
    for raw in (lacks, twice):
        small = extract([path], tmp_path / "small", some_claims(world, claim, x=raw))
        for place in (path, *small):
            with pytest.raises(LedgerError):
                measure(Measure.read(raw), table_reader({"lost": place}.__getitem__))


def test_small_tables_of_all_that_is_committed_come_to_the_committed_verdicts(tmp_path):
    """So that of full grids no more need to be committed."""
    results = ledger.FOLDER.parents[3] / "results"
    stems = ("rate_sweep", "depth_grid", "joint_step")
    paths = [results / "tables" / f"{stem}.csv" for stem in stems]
    small = extract(paths, tmp_path / "tables", load_ledger().claims.values())
    assert sum(path.stat().st_size for path in small) < sum(p.stat().st_size for p in paths) / 3
    decide_all(tmp_path, [results], tmp_path)
    for name in ("claims.csv", "claims_evidence.csv"):
        assert (tmp_path / name).read_bytes() == (results / name).read_bytes()
