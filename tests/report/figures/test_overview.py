"""The plain plot of any table: which columns go where, what is drawn, what its caption says."""

from itertools import product

import numpy as np
import pytest

from gpubn.report.figures.overview import draw_overview
from gpubn.report.tables import read_table, write_table
from gpubn.rows import Observation


@pytest.fixture
def draw(tmp_path):
    """draw(cells, metrics): the figure of cells (dicts of columns), with value(cell, seed)."""

    def rows(cell, metrics, seeds, last):
        return [
            Observation(seed, step, None, metric, value(cell, seed) if step else 77.0)
            for metric, value in metrics.items()
            for seed in range(seeds)
            for step in (0, last(cell))
        ]

    def figure(cells, metrics, seeds=3, last=lambda cell: 10):
        parts = [(cell, rows(cell, metrics, seeds, last)) for cell in cells]
        write_table(tmp_path / "t.csv", parts, {})
        return draw_overview(read_table(tmp_path / "t.csv"), "T", "A note.")

    return figure


def grid(**levels):
    return [dict(zip(levels, values, strict=True)) for values in product(*levels.values())]


def visible(figure):
    return [ax for ax in figure.axes if ax.get_visible()]


def caption(figure):
    return " ".join(figure.texts[-1].get_text().split())


def of_seed(cell, seed):
    return seed


def of_rate(cell, seed):
    return float(cell["optim.rate"]) * (1 + 0.1 * seed)


def test_a_training_against_what_was_swept(draw):
    metrics = dict.fromkeys(("train_loss", "batch_loss", "test_loss"), of_rate)
    metrics |= dict.fromkeys(("test_accuracy", "weight_change"), lambda cell, seed: 0.5)
    cells = grid(data=["mnist"], norm=["none", "before"], **{"optim.rate": ["0.1", "1.0", "0.01"]})
    figure = draw(cells, metrics)
    axes = visible(figure)
    assert [ax.get_ylabel() for ax in axes] == ["train loss", "test loss", "test accuracy"]
    assert [ax.get_yscale() for ax in axes] == ["log", "log", "linear"]
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["0.01", "0.1", "1"]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["norm=none", "norm=before"]
    first = axes[0].containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(first, np.array([0.01, 0.1, 1]) * (1.0 * 1.1 * 1.2) ** (1 / 3))
    text = caption(figure)
    assert text.startswith("Dataset: MNIST. Values: last step (10). Marks and bars: mean and its")
    assert "n = 3 seeds" in text
    assert text.endswith("A note.")


def steps(cell, seed=0):
    return int(cell["step_count"])


def test_a_table_of_one_cell_and_cells_that_end_at_other_steps(draw):
    figure = draw(grid(norm=["none"]), {"m": of_seed}, seeds=1)
    (ax,) = visible(figure)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["none"]
    assert not figure.legends
    assert "Dataset: standard normal input." in caption(figure)
    assert "n = 1 seed (" in caption(figure)
    figure = draw(grid(step_count=["10", "20"]), {"m": steps}, last=steps)
    (ax,) = visible(figure)
    assert ax.containers[0].lines[0].get_ydata().tolist() == [10, 20]
    assert "last step of each cell" in caption(figure)


def test_more_lines_than_colours_are_dealt_to_panels_and_what_is_left_is_named(draw):
    cells = grid(a=[*"pqrstuv"], b=[*"xyz"], c=["k", "l"], rate=["1", "2"])
    figure = draw(cells, {f"m{i}": of_seed for i in range(5)}, seeds=1)
    assert len(visible(figure)) == 15
    assert visible(figure)[1].get_title() == "b=x\nc=l"
    assert len(figure.legends[0].get_texts()) == 7
    assert "In the table alone: 1 more of the panels by b, c; m3, m4." in caption(figure)
