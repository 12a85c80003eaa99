"""The laboratory: what its charts draw is what the tables hold, and their pictures and numbers."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("vl_convert")

from gpubn.report.site import laboratory, page
from gpubn.report.site.downloads import find_downloads
from gpubn.report.site.exhibits import ALL, NORMS, rounded, signals, trainability, training
from gpubn.report.statistics import mean_interval
from gpubn.report.tables import read_table

RESULTS = Path(__file__).parents[3] / "results"
TABLES = RESULTS / "tables"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Path -> page or script of the laboratory, as it stands in the site."""
    cache = tmp_path_factory.mktemp("kept")
    source = SimpleNamespace(results=RESULTS, downloads=find_downloads(RESULTS), cache=cache)
    found = {}
    for item in laboratory.pages(source):
        path, data = item if isinstance(item, tuple) else (item.path, item.render(page.NAVIGATION))
        found[path] = data.decode()
    return found


@pytest.fixture(scope="module")
def exhibits():
    """Name -> exhibit."""
    made = (make((RESULTS / of[0]).parent) for make, of in laboratory.EXHIBITS.items())
    return {exhibit.name: exhibit for exhibit in made}


def values(stem, **where):
    """The values of the rows of a committed table that have these values, by seed."""
    table = read_table(TABLES / f"{stem}.csv")
    for column, value in where.items():
        table = table[table[column] == value]
    return table.sort_values("seed")["value"].to_numpy()


def one(exhibit, **where):
    """The only row of an exhibit that has these values."""
    rows = exhibit.rows if exhibit.facts is None else exhibit.facts
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize(
    ("metric", "quantity", "of"),
    [("activation_var", "activations", "50"), ("weight_grad_var", "weight gradients", "20")],
)
def test_curves_by_layer_are_geometric_means_with_intervals(exhibits, metric, quantity, of):
    arm = {"init": "small", "norm": "none", "activation": "relu"}
    seeds = values("signal_grid", metric=metric, depth=of, layer=15, **arm)
    assert len(seeds) == 5
    shown = {**arm, "norm": NORMS["none"], "depth": "20", "layer": 15, "quantity": quantity}
    row = one(exhibits["by-layer"], **shown)
    expected = [10**part for part in mean_interval(np.log10(seeds))]
    assert [row["mean"], row["low"], row["high"]] == pytest.approx(expected, rel=1e-3)
    depths = exhibits["by-layer"].rows.groupby("depth")["layer"].max()
    assert depths.to_dict() == {"10": 10, "20": 20, "50": 50}


def test_a_network_of_ten_layers_has_the_activations_of_a_deeper_one():
    """The table has those of the deepest alone, and the chart shows them for all."""
    from gpubn.experiments import signal

    size = {"width": 6, "batch": 9, "seeds": 2}
    few, many = signal(depth=2, **size), signal(depth=4, **size)
    assert np.array_equal(few.activation_var, many.activation_var[:, :3])


def test_what_is_watched_is_a_distribution_in_every_layer(exhibits):
    watch = exhibits["watch"]
    sums = watch.rows.groupby(["init", "norm", "layer"])["share"].sum()
    assert len(sums) == 2 * 3 * 21
    assert sums.to_numpy() == pytest.approx(1, abs=0.002)
    seeds = values(
        "signal_grid",
        **{"metric": "activation_var", "depth": "20", "layer": 7, "init": "he"},
        **{"norm": "before", "activation": "relu"},
    )
    row = one(watch, init="he", norm=NORMS["before"], layer=7)
    assert row["spread"] == pytest.approx(np.exp(np.log(seeds**0.5).mean()), rel=1e-3)
    assert "from layer 2 on" in watch.says


def test_loss_curves_hold_every_seed(exhibits):
    seeds = values("mnist_init", metric="batch_loss", init="rand", norm="after", step=250)
    rows = exhibits["curves"].rows
    row = rows[(rows["init"] == "rand") & (rows["norm"] == NORMS["after"]) & (rows["step"] == 250)]
    assert row[[f"s{seed}" for seed in range(10)]].to_numpy()[0] == pytest.approx(seeds, rel=1e-3)
    assert row["mean"].item() == pytest.approx(np.exp(np.log(seeds).mean()), rel=1e-3)


def test_there_is_a_curve_for_every_depth_and_rate(exhibits):
    arm = {"network": "relu", "norm": "after"}
    rows = exhibits["by-step"].rows
    curves = rows.groupby(["network", "norm", "depth", "rate"])["step"].apply(list)
    assert len(curves) == 2 * 4 * 7 * 8
    assert {*map(tuple, curves)} == {(0, 25, 50, 75, 100, 125)}
    for step, rate in ((0, "0.1"), (75, "0.0316")):
        seeds = values("trainability", metric="batch_loss", step=step, depth="28", rate=rate, **arm)
        at = {"network": "relu", "norm": NORMS["after"], "depth": "28", "rate": "0.0316"}
        row = one(exhibits["by-step"], step=step, **at)
        assert row[["s0", "s1", "s2"]].to_numpy(float) == pytest.approx(seeds, rel=1e-3)


def test_without_losses_on_the_way_a_curve_has_two_ends():
    table = read_table(TABLES / "trainability.csv")
    ends = table[(table["metric"] == "batch_loss") & table["step"].isin([0, 125])]
    found = training._with_starts(ends)
    assert {*found["step"]} == {0, 125}
    assert found["rate"].nunique() == ends["rate"].nunique() == 11
    assert (found.groupby("rate")["step"].nunique() == 2).all()


def test_losses_by_depth_are_those_of_the_rate(exhibits):
    arm = {"init": "glorot", "activation": "tanh", "rate": "0.3"}
    seeds = values("depth_grid", metric="batch_loss", depth="10", norm="before", **arm)
    row = one(exhibits["by-depth"], norm=NORMS["before"], depth=10, **arm)
    assert row["mean"] == pytest.approx(np.exp(np.log(seeds).mean()), rel=1e-3)
    assert row["low"] < row["mean"] < row["high"]


def test_losses_by_depth_in_full_are_each_at_a_rate_of_its_own(exhibits):
    full = exhibits["by-depth-tuned"]
    arms = full.rows.groupby(["init", "norm", "activation", "depth"])
    assert len(arms) == len(full.rows) == 3 * 3 * 3 * 5
    table = read_table(RESULTS / "full" / "tables" / "depth_grid.csv")
    arm = {"init": "he", "activation": "relu", "norm": "before", "depth": "50"}
    held = table[(table[[*arm]] == arm).all(axis=1) & (table["metric"] == "batch_loss")]
    assert len(held) == 20
    row = one(full, **arm | {"norm": NORMS["before"], "depth": 50})
    assert row["mean"] == pytest.approx(np.exp(np.log(held["value"]).mean()), rel=1e-3)
    assert row["rate"] == held["rate"].iloc[0]
    assert "rate" in full.headings
    assert "rate" not in exhibits["by-depth"].headings


def test_the_map_has_shares_of_a_guess_of_at_most_one(exhibits):
    arm = {"network": "tanh", "norm": "none"}
    seeds = values("trainability", metric="batch_loss", step=125, depth="5", rate="0.1", **arm)
    row = one(exhibits["map"], depth=5, rate=0.1, **arm)
    assert row["share"] == pytest.approx(np.fmin(seeds / np.log(10), 1).mean(), rel=1e-3)
    rows = exhibits["map"].rows
    assert len(rows) == 616
    assert rows["share"].max() == 1
    arm = {"network": "relu", "norm": "none", "depth": "28", "rate": "0.316"}
    some = one(exhibits["map"], **arm | {"depth": 28, "rate": 0.316})
    assert some["diverged"] == pytest.approx(
        values("trainability", metric="diverged", **arm).mean(), rel=1e-3
    )
    lost = one(exhibits["map"], network="relu", norm="none", depth=50, rate=10.0)
    assert (lost["diverged"], lost["share"]) == (1, 1)


def test_distributions_are_those_of_the_step(exhibits):
    pooled = values(
        "mnist_init_pooled",
        **{"init": "glorot", "norm": "before", "step": 600},
        metric="post_activation_hist[+0.983]",
    )
    rows = exhibits["distributions"].rows
    arm = (rows["place"] == "post") & (rows["init"] == "glorot") & (rows["step"] == 600)
    shown = rows[arm & (rows["norm"] == NORMS["before"]) & (rows["at"] == 0.983)]
    assert shown["share"].item() == pytest.approx(pooled.item(), rel=1e-3)


def test_the_script_of_a_chart_holds_its_rows_and_starts_as_its_controls(made, exhibits):
    for name, exhibit in exhibits.items():
        given = json.loads(re.fullmatch(r"laboratory\((.*)\);\n", made[f"laboratory/{name}.js"])[1])
        rows = pd.DataFrame(
            {
                column: [held["levels"][code] for code in held["codes"]]
                if isinstance(held, dict)
                else held
                for column, held in given["rows"].items()
            }
        )
        pd.testing.assert_frame_equal(
            rows, exhibit.rows.reset_index(drop=True), check_dtype=False, check_exact=True
        )
        starts = {p["name"]: p["value"] for p in given["spec"]["params"] if "value" in p}
        expected = {
            c.name: c.start == "true" if c.kind == "check" else c.start for c in exhibit.controls
        }
        assert starts == expected
        assert all(control.start in control.options for control in exhibit.controls)


def test_without_scripts_there_is_a_picture_and_a_table(made, exhibits):
    for name, exhibit in exhibits.items():
        text = made[f"laboratory/{name}.html"]
        svg = re.search(
            r'role="img" aria-label="[^"]+"[^>]*><svg aria-hidden="true".*?</svg>', text, re.S
        )
        assert len(re.findall(r"<path|<line", svg[0])) > 30, name
        assert "NaN" not in svg[0]
        assert '<form class="controls" hidden' in text
        body = re.search(r"<tbody>(.*?)</tbody>", text, re.S)[1]
        assert body.count("<tr>") == len(exhibit.shown()) > 0
    watch = made["laboratory/watch.html"]
    assert "layer 5;" in watch
    assert watch.count('fill="var(--none)"') == 1, "one bin holds all of layer 5"


def test_the_numbers_beside_a_picture_are_those_of_its_choices(exhibits):
    shown = exhibits["watch"].shown()
    assert len(shown) == 3
    assert shown["spread"].iloc[0] < 1e-5, "layer 5 of small weights, and not the input"
    everything = exhibits["by-layer"]
    assert everything.start["norm"] == ALL
    assert {*everything.shown()["norm"]} == {NORMS[n] for n in ("none", "before", "after", "layer")}


def test_an_exhibit_without_its_table_is_left_out_and_named(tmp_path, caplog):
    (tmp_path / "tables").mkdir()
    source = SimpleNamespace(results=tmp_path, downloads={}, cache=tmp_path / "kept")
    assert [*laboratory.pages(source)] == []
    assert f"{tmp_path}/tables/signal_grid.csv does not exist" in caplog.text


def test_numbers_have_four_digits_and_nothing_stands_for_what_is_not_finite():
    rows = pd.DataFrame(
        {"x": [1.23456e-40, np.inf, np.nan], "name": ["a", "b", "c"], "n": [1, 2, 3]}
    )
    found = rounded(rows)
    assert found["x"][0] == 1.235e-40
    assert found["x"][1:].isna().all()
    assert found["n"].tolist() == [1, 2, 3]
    assert (signals.STEM, trainability.LOST, training.TICKS[0]) == ("signal_grid", 0.5, 0.05)


def test_what_is_drawn_is_kept_until_a_table_changes(tmp_path, monkeypatch):
    for table in {table for tables in laboratory.EXHIBITS.values() for table in tables}:
        path = tmp_path / f"{table}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    drawn = []
    make = lambda folder: drawn.append(folder) or []  # noqa: E731
    monkeypatch.setattr(laboratory, "_drawn", make)
    source = SimpleNamespace(results=tmp_path, downloads={}, cache=tmp_path / "kept")
    for _ in range(2):
        assert [*laboratory.pages(source)] == []
    assert len(drawn) == 1
    for count, place in enumerate(("tables", "full/tables"), 2):
        (tmp_path / place / "depth_grid.csv").write_text("changed")
        assert [*laboratory.pages(source)] == []
        assert len(drawn) == count
