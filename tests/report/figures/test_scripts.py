"""Every figure: as page and as slide, and from tables that hold less, or more, than committed."""

import json
import re
import runpy
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gpubn.errors import StoreError
from gpubn.report.claims.extract import extract
from gpubn.report.claims.ledger import load_ledger
from gpubn.report.figures import drawing
from gpubn.report.figures.style import CAPTION_LINES, SLIDE, SLIDE_DPI, render, style
from gpubn.report.tables import read_table
from gpubn.rows import COLUMNS

RESULTS = drawing.SCRIPTS.parents[1] / "results"
UNIVERSES = "universes"
"""The figure of words instead of seeds, with tests of its own."""
OTHERS = [script for script in drawing.find() if script.name != UNIVERSES]
SCRIPTS = pytest.mark.parametrize("script", OTHERS, ids=lambda script: script.name)


@cache
def whole(stem):
    path = RESULTS / "tables" / f"{stem}.csv"
    return read_table(path if path.exists() else RESULTS / "benchmarks" / f"{stem}.csv")


def test_the_committed_figures_are_drawn_from_what_is_committed():
    ours = [script for script in drawing.find() if script.extension is None]
    assert [script.name for script in ours if not drawing.is_current(script, RESULTS)] == []
    small, place = [script for script in ours if script.from_small], RESULTS / "full"
    sources = [place, RESULTS]
    assert len(small) == 4
    assert [s.name for s in small if not drawing.is_current(s, place, sources=sources)] == []


@pytest.mark.parametrize(
    ("name", "metric"), [("depth_init", "batch_loss"), ("batch_sweep", "best_test_loss")]
)
def test_a_small_table_shows_what_the_complete_one_does(name, metric, tmp_path):
    (script,) = drawing.find([name])
    assert script.from_small
    (stem,) = script.tables
    claims = load_ledger().claims.values()
    extract([RESULTS / "tables" / f"{stem}.csv"], tmp_path, claims, metric)
    small = read_table(tmp_path / f"{stem}.csv")
    assert len(small) < len(whole(stem)) / 2
    with style():
        pictures = [
            render(drawing.compose(script, {stem: table}).figure, "", "", 50)["svg"]
            for table in (small, whole(stem))
        ]
    assert pictures[0] == pictures[1]


def table(stem):
    frame = whole(stem)
    return frame[frame["seed"].isna() | (frame["seed"] < 2)]


@cache
def composed(script):
    """The sheet of the committed tables, with its verdicts."""
    with style():
        frames = {stem: whole(stem) for stem in script.tables}
        return drawing.compose(script, frames, drawing.verdicts(script, RESULTS))


# What is read -------------------------------------------------------------------------------------


def texts(figure):
    """All texts of a figure that are seen."""
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for ax in (ax for ax in figure.axes if ax.get_visible()):
        found += [ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label]
        found += [*ax.texts, *(ax.get_legend().get_texts() if ax.get_legend() else ())]
        ticks = [tick for axis in (ax.xaxis, ax.yaxis) for tick in axis._update_ticks()]
        found += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    return [text for text in found if text.get_text().strip()]


def crowded(figure):
    """The texts that leave the figure, and the pairs that lie on each other."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    width, height = figure.bbox.size
    found = [
        text for text, box in boxes if min(box.x0, box.y0, width - box.x1, height - box.y1) < -1
    ]
    for (one, a), (other, b) in combinations(boxes, 2):
        across, down = (min(a.x1, b.x1) - max(a.x0, b.x0)), (min(a.y1, b.y1) - max(a.y0, b.y0))
        if min(across, down) > 1:
            found.append((one, other))
    return found


@SCRIPTS
def test_a_figure_can_be_read_as_page_and_as_slide(script):
    """A slide has 1080 lines, of which letters take 18 or more, one to three panels, no caption."""
    sheet = composed(script)
    with style():
        sheet.finish()
        assert sheet.figure.texts[-1].get_text().count("\n") < CAPTION_LINES
        assert sum(ax.has_data() for ax in sheet.figure.axes) <= 24
        assert crowded(sheet.figure) == []
        for part in (*sheet.figure.texts, *sheet.figure.legends):
            part.remove()
        sheet.finish(slide=True)
        assert crowded(sheet.figure) == []
    assert 1 <= sum(ax.get_visible() for ax in sheet.figure.axes) <= 3
    assert SLIDE_DPI * SLIDE[1] == 1080
    assert min(text.get_fontsize() for text in texts(sheet.figure)) * SLIDE_DPI / 72 >= 18
    assert sheet.figure.texts[-1].get_text() == sheet.fill(sheet.declared.slide.source)


def test_the_committed_figures_are_described():
    there = (RESULTS / "tables" / f"{UNIVERSES}.csv").exists()
    for script in drawing.find() if there else OTHERS:
        base = RESULTS / "figures" / script.name
        said = json.loads(base.with_suffix(".json").read_text())
        svg = base.with_suffix(".svg").read_text()
        assert len(svg) < 300_000
        assert f"<title>{said['title']}</title><desc>" in svg
        assert said["alt"].startswith(f"{said['title']}. {said['caption']} ")


# What the words rest on ---------------------------------------------------------------------------


@SCRIPTS
def test_no_size_of_a_design_is_typed(script):
    """Steps, seeds, widths, batches and examples have their numbers from the table."""
    words = " ".join(composed(script).declared.words.split())
    counted = r"(steps|seeds?|units|images|examples|mini-batches|trainings|layers|networks|rounds)"
    assert re.findall(rf"\b\d[\d,]* (?:[\w-]+ )?{counted}\b", words) == []
    assert re.findall(r"\b(?:rates?|batch(?:es)? of|batch|last|n =|width) [\d.,]+\b", words) == []


PLANTED = {"norm.placement": "after", "backend": "cupy", "dtype": "float16"}
NAMED = {"training": "optim.steps", "network": "model.width", "signal": "model.width"}


@SCRIPTS
def test_a_table_that_changes_changes_the_words_of_its_figure(script):
    """Its seeds, and each key of the configuration that the words name."""
    sheet, words = composed(script), composed(script).declared.words
    before, frame = sheet.alt(), sheet.table
    sheet.table = frame[frame["seed"] != frame["seed"].max()]
    assert sheet.alt() != before
    keys = re.findall(r"\{c\[(.*?)\]", words)
    keys += [key for name, key in NAMED.items() if f"{{{name}}}" in words]
    for key in keys:
        sheet.table = frame.copy()
        sheet.table.attrs["config"] = {**frame.attrs["config"], key: PLANTED.get(key, 777)}
        assert sheet.alt() != before, key
    sheet.table = frame
    assert keys or script.name in ("estimators", "exact_checks")  # whose cells differ in all


# Tables that hold less or more --------------------------------------------------------------------


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


TUNED = ("batch_sweep", "depth_grid", "dropout", "dropout_shares", "inputs", "norm_accuracy")


def tuned(frame):
    """Each arm at one of its rates: the next one in turn, of those that have as many rows."""
    arms = [column for column in frame.columns if column not in (*COLUMNS, "rate")]
    kept = []
    for number, (_, rows) in enumerate(frame.groupby(arms)):
        counts = rows["rate"].value_counts(sort=False)
        rates = sorted(counts[counts == counts.max()].index)
        kept.append(rows[rows["rate"] == rates[number % len(rates)]])
    found = pd.concat(kept).sort_index()
    found.attrs = frame.attrs
    return found


@pytest.mark.parametrize(
    "script",
    [script for script in drawing.find() if {*script.tables} & {*TUNED}],
    ids=lambda script: script.name,
)
def test_a_table_with_one_rate_an_arm_is_drawn_and_described(script):
    frames = {stem: table(stem) for stem in script.tables}
    frames |= {stem: tuned(frame) for stem, frame in frames.items() if stem in TUNED}
    before = {stem: len(frame) for stem, frame in frames.items()}
    with style():
        sheet = drawing.compose(script, frames)
        if "{rate}" in script.path.read_text():
            assert "(one an arm)" in sheet.alt()
        if "rate {" in script.path.read_text() or "at {lowest}" in script.path.read_text():
            assert "the rate of its arm" in sheet.alt()
        sheet.finish()
    assert before == {stem: len(frame) for stem, frame in frames.items()}


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
    declared("step_cost")["_draw_ratios"](
        ax, [(("time", "k", "-", "o"), [("64 × 8", slow, quick)])]
    )
    assert ax.lines[0].get_ydata().tolist() == [2.0, 2.2]
    assert [text.get_text() for text in ax.texts] == ["1.5 ms"]


def test_the_map_shows_shares_of_a_guess_and_leaves_out_what_diverged():
    """Of two seeds at three rates; a training counts as much as a guess at most."""
    rates, flags = np.array([0.1, 1.0, 10.0]), [[0, 0], [0, 0], [0, 1]]
    rows = [
        ("1", f"{rate}", seed, "diverged", flag)
        for rate, of_rate in zip(rates, flags, strict=True)
        for seed, flag in enumerate(of_rate)
    ]
    frame = pd.DataFrame(rows, columns=["depth", "rate", "seed", "metric", "value"])
    ax = Figure().subplots()
    shares = {1: (rates, np.array([[0.2, 0.4], [0.5, 9.0], [0.1, np.nan]]))}
    declared("trainability")["_draw_map"](ax, frame, shares)
    (mesh,) = ax.collections
    shown = mesh.get_array()
    assert shown.mask.tolist() == [[False, False, True]]
    np.testing.assert_allclose(shown.compressed(), [0.3, 0.75])
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], [0.5, 1.5])


def test_the_moving_average_starts_where_theory_says():
    theory = declared("moving_average")["_theory"]
    config = {"norm.initial_spread": 1.0, "data.examples": 10}
    assert theory("mean_bias", 0.1, 0, config) == -1
    assert theory("var_bias", 0.1, 0, config) == -0.75
    assert theory("var_bias", 0.1, 2, config) == pytest.approx(-0.75 * 0.81)
