"""Every figure from tables that hold less, or more, than the committed ones."""

import runpy
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gpubn.errors import StoreError
from gpubn.report.figures import drawing
from gpubn.report.figures.style import style
from gpubn.report.tables import read_table
from gpubn.rows import COLUMNS

RESULTS = drawing.SCRIPTS.parents[1] / "results"
SCRIPTS = pytest.mark.parametrize("script", drawing.find(), ids=lambda script: script.name)


@cache
def table(stem):
    path = RESULTS / "tables" / f"{stem}.csv"
    frame = read_table(path if path.exists() else RESULTS / "benchmarks" / f"{stem}.csv")
    return frame[frame["seed"].isna() | (frame["seed"] < 2)]


def outcome(script, frames):
    """The sentence that says why it is not drawn; None where it is."""
    with style():
        try:
            drawing.compose(script, frames)
        except StoreError as error:
            return str(error)
    return None


@SCRIPTS
def test_of_a_part_of_its_grid_a_figure_is_drawn_or_says_what_it_needs(script):
    """Of the axis with most levels it is given the last one alone."""
    frames = {stem: table(stem) for stem in script.tables}
    columns = [c for f in frames.values() for c in f.columns[: -len(COLUMNS)]]
    levels = {c: max(f[c].nunique() for f in frames.values() if c in f) for c in columns}
    axis = max(levels, key=levels.__getitem__)
    kept = next(frame[axis].unique()[-1] for frame in frames.values() if axis in frame)
    thin = {
        s: frame[frame[axis] == kept] if axis in frame else frame for s, frame in frames.items()
    }
    said = outcome(script, thin)
    if said is not None:
        assert said.startswith(f"the figure {script.name} cannot be drawn: ")
        assert " needs " in said


@SCRIPTS
def test_a_figure_refuses_rows_that_it_cannot_tell_apart(script):
    planted = {}
    for stem in script.tables:
        frame = table(stem)
        place = len(frame.columns) - len(COLUMNS)
        parts = [frame.copy(), frame.copy()]
        for part, rate in zip(parts, ("0.1", "0.3"), strict=True):
            part.insert(place, "optim.rate", rate)
        planted[stem] = pd.concat(parts)
        common = {k: v for k, v in frame.attrs["config"].items() if k != "optim.rate"}
        planted[stem].attrs["config"] = common
    assert "differ in optim.rate (0.1, 0.3)" in (outcome(script, planted) or "")


def declared(name):
    return runpy.run_path(str(drawing.SCRIPTS / f"{name}.py"))


def test_what_costs_twice_as_much_is_drawn_at_two():
    slow, quick = np.array([2.0, 4.4]), np.array([1.0, 2.0])
    ax = Figure().subplots()
    declared("step_cost")["_draw_ratios"](ax, [("time", "k", "o", [("64 × 8", slow, quick)])])
    assert ax.lines[0].get_ydata().tolist() == [2.0, 2.2]
    assert [text.get_text() for text in ax.texts] == ["1.5 ms"]


def test_the_moving_average_starts_where_theory_says():
    theory = declared("moving_average")["_theory"]
    config = {"norm.initial_spread": 1.0, "data.examples": 10}
    assert theory("mean_bias", 0.1, 0, config) == -1
    assert theory("var_bias", 0.1, 0, config) == -0.75
    assert theory("var_bias", 0.1, 2, config) == pytest.approx(-0.75 * 0.81)
