"""What is drawn of the values of seeds: where marks stand, what axes hold, what captions say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gpubn.errors import StoreError
from gpubn.report.figures import forest, histograms, marks, scales, sweeps
from gpubn.report.figures.style import concise
from gpubn.report.statistics import predictive_interval

NAN, INF = np.nan, np.inf
STYLE = ("label", "k", "-", "s")


@pytest.fixture
def ax():
    return Figure().subplots()


def marked(ax, marker):
    """The points of all lines with this marker."""
    lines = [line for line in ax.lines if line.get_marker() == marker]
    return [point for line in lines for point in line.get_xydata().tolist()]


@pytest.mark.parametrize("log", [False, True])
def test_a_forest_shows_every_seed_bound_and_printed_value(ax, log):
    seeds = np.array([1.0, 2.0, 4.0])
    lines = forest.grouped(
        {
            "a": [forest.Line("", seeds, published=(30.0, 50.0)), *[forest.Line("", seeds)] * 2],
            "b": [forest.Line("", np.array([1.0, NAN]))],
        }
    )
    assert [line.label for line in lines] == ["", "a", "", "", "b"]
    forest.draw_forest(ax, lines, log=log, bounds=(0.5,))
    low, high = ax.get_xlim()
    assert low < 0.5
    assert high > 50
    ((star, _),) = marked(ax, "*")
    assert star == pytest.approx(np.sqrt(1500) if log else 40)
    assert marked(ax, "x") == [[marks.HIGH_EDGE, 4]]
    run = forest.single_run(seeds, log)
    expected = predictive_interval(np.log10(seeds) if log else seeds)
    np.testing.assert_allclose(run, 10 ** np.array(expected) if log else expected)
    np.testing.assert_allclose([x for x, y in marked(ax, "|") if y == -0.26], run)


def test_bins_stand_in_order_and_a_printed_variance_among_the_seeds():
    names = [f"a_hist[{centre}]" for centre in ("+0.5", "-0.5", "-1.5")]
    centres, shares = histograms.bins(pd.DataFrame({"metric": names, "value": [0.3, 0.5, 0.2]}))
    assert (centres.tolist(), shares.tolist()) == ([-1.5, -0.5, 0.5], [0.2, 0.5, 0.3])
    variances = np.array([1.0, 1.2, 2.4, 2.6])
    for printed, above in (("2.0", 2), ("0.9", 0), ("2.4", 2)):
        *_, said, where = histograms._described(variances, printed)
        assert (said, where) == (f"published {printed}:", f"above {above} of 4 seeds")
    assert histograms._described(np.array([1.0, 1.0]), "1.0")[3] == "as in 2 of 2 seeds"


def test_a_run_is_drawn_as_a_density_of_raw_values(ax):
    shares = {"hist[0]": 0.25, "hist[1]": 0.5, "hist[2]": 0.25}
    of_run = {"var": 4e-46, "low": -3e-23, "high": 6e-23, **shares}
    rows = [{"norm": "none", "metric": f"activation_{m}", "value": v} for m, v in of_run.items()]
    other = {"norm": "none", "metric": "weight_grad_var", "value": 1.0}
    runs = pd.DataFrame([*rows, other]).assign(seed=3)
    runs = pd.concat([runs.assign(seed=4, value=-1.0), runs])  # of which the first counts
    rows = histograms.of_run(runs, "activation", norm="none")
    ax.set_ylabel("row")
    assert histograms.draw_run(ax, rows, "k", "activation") == 4e-46
    ((density, edges, _),) = (patch.get_data() for patch in ax.patches)
    np.testing.assert_allclose(edges, [-3, 0, 3, 6])
    np.testing.assert_allclose(density * 1e22 * np.diff(edges * 1e-23), [0.25, 0.5, 0.25])
    assert ax.get_xlabel() == r"activation, in $\mathbf{10^{-23}}$"
    assert ax.get_ylabel() == "row\ndensity, in $\\mathbf{10^{22}}$"
    with pytest.raises(StoreError, match="differ in norm"):
        histograms.draw_run(ax, pd.concat([rows, rows.assign(norm="after")]), "k", "")


@pytest.mark.parametrize(("value", "power"), [(0.012, 0), (83.0, 0), (100.0, 2), (0.0099, -3)])
def test_short_numbers_have_no_power(value, power):
    assert histograms.power_of(np.array([value / 2, -value])) == power


def test_variances_are_drawn_over_the_printed_one(ax):
    line = histograms.over_printed(np.array([1.0, 4.0]), "2.0", STYLE)
    assert line.seeds.tolist() == [0.5, 2.0]
    assert line.published == pytest.approx((0.975, 1.025))
    histograms.draw_over_printed(ax, {"layer": [line]}, (0.5, 1, 2))
    assert ax.get_xlim() == (0.25, 4)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["layer"]


def test_what_has_no_place_on_an_axis_stands_on_its_edge_and_is_explained(ax):
    values = np.array([[1.0, 100.0], [0.0, 1.0], [NAN, 0.0], [INF, 1.0]])
    at, (mean, low, high) = marks.place(ax, np.arange(4.0), values, "k", log=True)
    np.testing.assert_allclose(mean, [10, NAN, NAN, NAN])
    assert low[0] < 10 < high[0]
    assert marked(ax, "v") == [[1, marks.LOW_EDGE]]
    assert marked(ax, "x") == [[2, marks.HIGH_EDGE], [3, marks.HIGH_EDGE]]
    _, (mean, _, _) = marks.place(ax, at, values, "k", log=False)
    np.testing.assert_allclose(mean, [50.5, 0.5, NAN, NAN])
    assert marks.edge_notes(ax.figure) == (
        "Crosses at the edge: NaN or infinite in some seed. "
        "Triangles at the edge: zero in some seed."
    )
    assert marks.edge_notes(Figure()) == ""


def test_axes_hold_all_that_is_shown():
    low, high = scales.ends(np.array([1.0, *[5.0] * 50, 9.0, NAN]), np.array([-900.0]))
    assert -4 < low < -3  # half as much again, of what is wide
    assert 9 < high < 10
    low, high = scales.ends(np.array([0.0, 1e-3, 1e3]), log=True)
    assert 0 < low < 1e-3
    assert 1e3 < high < 1e4
    low, high = scales.ratio_ends({"a": [np.array([0.1, NAN])]}, matters=0.5)
    assert low < -0.5
    assert high > 0.5
    low, high = scales.loss_ends([np.array([0.2, 0.4])])
    assert low < 0.2
    assert high > scales.GUESS
    assert scales.loss_ends([np.array([99.0])])[1] == scales.TOP


def test_gains_are_the_base_over_the_other():
    base, other = np.array([[4.0, INF]]), np.array([[2.0, 1.0]])
    (gains,) = sweeps.over({"tanh": {"none": base, "after": other}}).values()
    np.testing.assert_allclose([*gains.values()], [[[np.log(2), INF]]])
    with pytest.raises(StoreError, match="the arms are after; the figure compares none with"):
        sweeps.over({"tanh": {"after": other}})


def test_the_best_rate_is_that_of_each_seed_and_no_diverged_one():
    losses = {"0.1": [3.0, NAN, NAN], "1.0": [NAN, 2.0, NAN], "2.0": [4.0, 1.0, NAN]}
    rows = [
        {"rate": rate, "depth": "5", "seed": seed, "step": 9, "metric": "m", "value": value}
        for rate, of_seeds in losses.items()
        for seed, value in enumerate(of_seeds)
    ]
    levels, best = sweeps.at_best_rate(pd.DataFrame(rows), "depth", "m")
    assert (levels.tolist(), best.tolist()) == ([5.0], [[3.0, 1.0, INF]])
    deeper = [{**row, "depth": "10", "value": 7.0 + row["seed"]} for row in rows[-3:]]
    levels, best = sweeps.at_best_rate(pd.DataFrame([*rows, *deeper]), "depth", "m")
    assert (levels.tolist(), best.tolist()) == ([5.0, 10.0], [[3.0, 1.0, INF], [7.0, 8.0, 9.0]])
    both = pd.DataFrame([{**row, "norm": norm} for row in rows for norm in "ab"])
    with pytest.raises(StoreError, match=r"differ in norm \(a, b\)"):
        sweeps.at_best_rate(both, "depth", "m")


def test_the_levels_at_which_a_loss_is_usable():
    swept = np.array([0.1, 1.0, 10.0]), np.array([[0.1, NAN], [0.1, 9.0], [99.0, 9.0]])
    crossing = (scales.USABLE - 0.1) / (sweeps.CEILING * scales.USABLE - 0.1)
    np.testing.assert_allclose(sweeps.usable_decades(swept, [scales.USABLE]), [1 + crossing, 0])
    np.testing.assert_allclose(sweeps.largest_usable(swept), [crossing, -1])
    assert sweeps.capped(swept[1], 10.0).tolist() == [[0.1, 10.0], [0.1, 9.0], [10.0, 9.0]]
    with pytest.raises(StoreError, match=r"the swept axis has one level, 0\.1; the figure"):
        sweeps.largest_usable((swept[0][:1], swept[1][:1]))


def test_seeds_beyond_the_axis_are_triangles_and_a_mean_of_some_is_hollow(ax):
    values = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, INF], [-9.0, 2.0, 99.0]])
    sweeps.draw_seeds(ax, np.arange(3.0), values, STYLE, ends=(0.0, 10.0))
    assert marked(ax, "^") == [[1, 10], [2, 10], [2, 10]]  # the last is the mean's
    assert marked(ax, "v") == [[2, 0]]
    means = [line for line in ax.lines if line.get_marker() == "s"]
    assert [line.get_markerfacecolor() for line in means] == ["k", "white"]
    assert [line.get_xydata().tolist() for line in means] == [[[0, 2]], [[1, 1.5]]]
    said = "Triangles: beyond the axis. Hollow: mean of the finite seeds alone."
    assert marks.edge_notes(ax.figure) == said


def test_numbers_are_concise():
    values = {3.46e-35: "3.46e-35", 0.99812: "0.998", 16.44: "16.4", 2.5e6: "2.50e6", NAN: "nan"}
    assert {value: concise(value) for value in values} == values
