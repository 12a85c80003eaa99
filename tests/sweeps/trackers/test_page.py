"""The figure of a cell's loss, and its tables."""

import numpy as np
import pytest

from gpubn.rows import per_seed
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.page import loss_figure, loss_png, tables


def text_of(figure):
    axes = figure.axes[0]
    return " ".join([*(text.get_text() for text in figure.texts), axes.get_title()])


def loss(values, metric="batch_loss"):
    """Rows of a loss from (steps, seeds)."""
    values = np.asarray(values, dtype=float)
    return [
        row
        for step, of_seeds in enumerate(values)
        for row in per_seed(range(values.shape[1]), metric, of_seeds, step=step)
    ]


def test_it_shows_mean_and_interval_and_says_so(cell, rows):
    facts = Facts.of(cell(), rows())
    figure = loss_figure(cell(), facts)
    said = " ".join(text_of(figure).split())
    for part in ("mnist_init", "NOT MNIST", "n = 3 seeds", "init=glorot", "norm=none", "95%"):
        assert part in said
    axes, points = figure.axes[0], facts.curves["batch_loss"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (nats)")
    line = next(line for line in axes.lines if len(line.get_xdata()) == len(points))
    np.testing.assert_array_equal(line.get_xdata(), [p.step for p in points])
    np.testing.assert_array_equal(line.get_ydata(), [p.mean for p in points])
    edges = axes.collections[0].get_paths()[0].vertices
    assert {p.low for p in points} | {p.high for p in points} <= set(edges[:, 1])


@pytest.mark.parametrize("lost", [[np.nan, 1.0], [np.inf, np.nan], [1e308, 1.5e308]])
def test_a_diverged_seed_is_a_cross_on_the_edge(cell, lost):
    facts = Facts.of(cell(), loss([[1, 2], [3, 4], lost]))
    figure = loss_figure(cell(), facts)
    line, *_, crosses = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), [1.5, 3.5, np.nan])
    assert (crosses.get_marker(), list(crosses.get_xdata())) == ("x", [2])
    assert "NaN or infinite in some seed" in text_of(figure)
    nothing_finite = Facts.of(cell(), loss([lost] * 3))
    assert loss_png(cell(), nothing_finite).startswith(b"\x89PNG")


def test_losses_far_apart_have_a_logarithmic_axis_and_several_a_legend(cell):
    def drawn(rows):
        return loss_figure(cell(), Facts.of(cell(), rows)).axes[0]

    assert drawn(loss([[1, 2], [3, 4]])).get_yscale() == "linear"
    assert drawn(loss([[1, 2], [3e9, 4e9]])).get_yscale() == "log"
    assert drawn(loss([[0, 0], [3e9, 4e9]])).get_yscale() == "linear"
    rows = loss([[1, 2], [3, 4]], "train_loss_path") + loss([[5, 6], [7, 8]], "test_loss_path")
    legend = drawn(rows).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["training part", "test part"]


def test_no_loss_no_figure(cell):
    for rows in (loss([[1, 2], [3, 4]], "other"), loss([[1, 2]])):  # one step is no curve
        assert loss_png(cell(), Facts.of(cell(), rows)) is None


def test_tables(cell, rows):
    facts = Facts.of(cell(), rows())
    text = tables(facts)
    assert "| model.depth | 1 |" in text
    point = facts.finals["test_accuracy"]
    assert (
        f"| test_accuracy | 20 | {point.mean:.4g} | {point.low:.4g} to {point.high:.4g} | 3 |"
    ) in text
    assert "| steps_to_loss 0.5 | 20 | inf | - | 3 |" in text
