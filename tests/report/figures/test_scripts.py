"""Every figure from tables that hold less, or more, than the committed ones."""

from functools import cache

import pandas as pd
import pytest

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


def tables(script):
    return {stem: table(stem) for stem in script.tables}


def axes(frame):
    """The columns in which cells differ, and the values of each."""
    values = {column: frame[column].unique() for column in frame.columns[: -len(COLUMNS)]}
    return {column: held for column, held in values.items() if len(held) > 1}


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
    frames = tables(script)
    for axis in {axis for frame in frames.values() for axis in axes(frame)}:
        kept = next(axes(frame)[axis][-1] for frame in frames.values() if axis in axes(frame))
        thin = {
            stem: frame[frame[axis] == kept] if axis in axes(frame) else frame
            for stem, frame in frames.items()
        }
        said = outcome(script, thin)
        if said is not None:
            assert said.startswith(f"the figure {script.name} cannot be drawn: ")
            assert " needs " in said


@SCRIPTS
def test_a_figure_refuses_rows_that_it_cannot_tell_apart(script):
    planted = {}
    for stem, frame in tables(script).items():
        first, second = frame.copy(), frame.copy()
        place = len(frame.columns) - len(COLUMNS)
        first.insert(place, "optim.rate", "0.1")
        second.insert(place, "optim.rate", "0.3")
        planted[stem] = pd.concat([first, second])
        common = {k: v for k, v in frame.attrs["config"].items() if k != "optim.rate"}
        planted[stem].attrs["config"] = common
    assert "differ in optim.rate (0.1, 0.3)" in (outcome(script, planted) or "")
