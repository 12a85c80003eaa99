"""Plans give back the cells of a sweep, are small, and are nothing where they are damaged."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from gpubn.config import Config, DataConfig, InitConfig, NormConfig, OptimConfig
from gpubn.sweeps import plans
from gpubn.sweeps.cells import Cell
from gpubn.sweeps.plans import SweepPlan, plan_path, read_plan, read_plans, write_plan

BASE = Config(
    name="rate_sweep",
    data=DataConfig("digits"),
    norm=NormConfig("before", "before"),
    optim=OptimConfig(rate=0.001, steps=100),
)


def sweep(count, overrides=("experiment=rate_sweep",), sources=()):
    rates = [n / 1000 for n in range(1, count + 1)]
    configs = [replace(BASE, optim=OptimConfig(rate=rate, steps=100)) for rate in rates]
    return SweepPlan(list(overrides), list(sources), [Cell.of(config) for config in configs])


@pytest.fixture
def written(tmp_path):
    path = plan_path(tmp_path, ["experiment=rate_sweep"])
    write_plan(path, sweep(5))
    return path


def test_a_plan_comes_back_as_it_was_and_a_cell_takes_few_bytes(tmp_path):
    cells = [
        *sweep(500).cells,
        Cell.of(Config(name="exact", data=DataConfig("gaussian"), dtype="float64", seeds=1)),
        Cell.of(replace(BASE, norm=NormConfig(eps=1e-300), data=DataConfig("digits", root="/é"))),
        Cell.of(replace(BASE, results="a b", init=InitConfig(low=-0.0))),
    ]
    plan = SweepPlan(["experiment=rate_sweep"], ["structured://"], cells)
    write_plan(tmp_path / "plan", plan)
    again = read_plan(tmp_path / "plan")
    assert again == plan
    assert repr(again) == repr(plan)
    assert [cell.id for cell in again.cells] == [cell.id for cell in cells]
    assert (tmp_path / "plan").stat().st_size < 4000 + 30 * 500


def test_a_plan_is_right_as_long_as_what_it_is_made_of(tmp_path, monkeypatch):
    """Files of every folder and package that was searched, the schema, Hydra."""
    conf, path = tmp_path / "conf", tmp_path / "plan"
    package = tmp_path / "made_of_yaml"
    for folder in (conf / "group", package / "deep"):
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text("x: 1")
        (folder / "note.txt").write_text("no matter")
    for init in (package / "__init__.py", package / "deep" / "__init__.py"):
        init.touch()
    monkeypatch.syspath_prepend(tmp_path)
    sources = [f"file://{conf}", "pkg://made_of_yaml/deep", "structured://", "file:///nowhere"]

    def stays_right(change):
        write_plan(path, sweep(2, sources=sources))
        assert read_plan(path) == sweep(2, sources=sources)
        change()
        return read_plan(path) is not None

    assert stays_right(lambda: (conf / "group" / "note.txt").write_text("changed"))
    for folder in (conf / "group", package / "deep"):
        assert not stays_right(lambda folder=folder: (folder / "a.yaml").write_text("x: 2"))
        assert not stays_right(lambda folder=folder: (folder / "b.yaml").write_text("x: 2"))
        assert not stays_right(lambda folder=folder: (folder / "a.yaml").unlink())
    assert not stays_right(lambda: monkeypatch.setattr(plans, "version", lambda _: "2.0"))
    schema = SimpleNamespace(__file__=conf / "group" / "b.yaml", from_dict=None)
    assert not stays_right(lambda: monkeypatch.setattr(plans, "schema", schema))


def test_all_plans_that_are_still_right(tmp_path, written):
    choices = ([], ["a"], ["a", "b"], ["b", "a"], ["a,b"])
    assert len({plan_path(tmp_path, choice) for choice in choices}) == len(choices)
    write_plan(tmp_path / "other.json", sweep(9, ["other"]))
    write_plan(tmp_path / "other.json", sweep(2, ["other"]))  # in place of the last one
    (tmp_path / "damaged.json").write_bytes(written.read_bytes()[:-9])
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "note.txt").write_text("no plan")
    assert sorted(len(plan.cells) for plan in read_plans(tmp_path)) == [2, 5]
    assert list(read_plans(tmp_path / "missing")) == []


def edit(change, sign=False):
    """Damage to what a plan says, also such that the digest does not tell."""

    def damage(data):
        document = json.loads(data)
        change(document)
        if sign:
            document["digest"] = plans._digest([document["base"], document["changes"]])
        return json.dumps(document).encode()

    return damage


KEYS = ("base", "changes", "digest", "key", "overrides", "sources")
DAMAGE = {
    "half": lambda data: data[: len(data) // 2],
    "no text": lambda data: b"\xff\xfe" + data,
    "null": lambda data: b"null",
    "another rate": edit(lambda d: d["changes"][1].update({"optim.rate": 0.5})),
    "a cell lost": edit(lambda d: d["changes"].pop()),
    **{f"no {key}": edit(lambda d, key=key: d.pop(key)) for key in KEYS},
    "a value out of range": edit(lambda d: d["changes"][1].update({"norm.momentum": 7.0}), True),
    "an unknown experiment": edit(lambda d: d["base"].update(name="nope"), True),
    "a group lost": edit(lambda d: d["base"].pop("norm"), True),
    "changes without a list": edit(lambda d: d.update(changes=5), True),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_plan_is_none(written, damage):
    data = written.read_bytes()
    spoilt = DAMAGE[damage](data)
    assert spoilt != data
    written.write_bytes(spoilt)
    assert read_plan(written) is None
