"""Sheets: what a figure declares of its words, grid, legend and slide, and what becomes of it."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gpubn.errors import StoreError
from gpubn.report.figures import looks, marks, style
from gpubn.report.figures.described import Described
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, facet, figure

CONFIG = {
    "model.depth": 1,
    "model.width": 64,
    "model.activation": "tanh",
    "init.kind": "glorot_normal",
    "optim.steps": 1500,
    "optim.batch": 32,
    "optim.schedule": "linear",
    "optim.rate": 0.1,
    "optim.min_rate": 0.01,
    "data.examples": 2000,
    "dtype": "float64",
}
LIMITS, HALF = (0.5, 1), 0.5
WORDS = """A title.

{dataset}; {HALF:.0%} of {LIMITS}; {t[n]}.

More.
"""


def table(**columns):
    frame = pd.DataFrame({"data": "mnist", "seed": [0, 1, 2], "norm": "before", **columns})
    frame.attrs["config"] = CONFIG
    return frame


def described(frame=None, **config):
    frame = table() if frame is None else frame
    frame.attrs["config"] = {k: v for k, v in (CONFIG | config).items() if v is not None}
    return Described(frame)


@pytest.mark.parametrize(
    ("config", "template", "said"),
    [
        ({}, "{n}, {seeds}, {c[optim.steps]:,}", "n = 3 seeds, 3, 1,500"),
        ({}, "{network}, {weights}", "1 hidden layer of 64 tanh units, Glorot normal"),
        ({"model.depth": 2, "model.activation": None}, "{network}", "2 hidden layers of 64 units"),
        ({"model.depth": None}, "{network}", "hidden layers of 64 tanh units"),
        ({}, "{training}, {rate}", "1,500 steps of batch 32, rate 0.1 falling linearly to 0.01"),
        ({"optim.batch": None}, "{training}", "1,500 steps"),
        ({"optim.schedule": "constant"}, "{rate}", "constant rate 0.1"),
        ({"optim.rate": None}, "{rate}; {each[rate]}", "constant rates 2, 10; 2, 10"),
        (
            {"model.depth": 20},
            "{signal}",
            "20 tanh layers of 64 units at initialisation, 2,000 standard normal examples, float64",
        ),
        (
            {"model.depth": 5, "data.examples": None, "model.activation": None},
            "{signal}",
            "5 layers of 64 units at initialisation, standard normal examples, float64",
        ),
        ({}, "{diverged}", "1 of 2 trainings diverged."),
        ({}, "{dots}", "Dots: n = 3 seeds; marks and bars: mean and 95% t-interval."),
    ],
)
def test_what_a_table_says_comes_out_of_its_columns_and_provenance(config, template, said):
    rates, metrics = ["10", "2", "2"], ["diverged", "diverged", "loss"]
    frame = table(rate=rates, metric=metrics, value=[1.0, 0.0, 0.0])
    assert described(frame, **config).fill(template) == said


def test_data_other_than_the_documents_are_named():
    mixed = Described(table(data=["digits", "mnist", "mnist"]))
    assert mixed["dataset"] == "scikit-learn's 8 × 8 digits, NOT MNIST and MNIST"
    assert mixed.titled("Title") == "Title (digits, mnist, not MNIST)"
    assert mixed["stars"] == ""
    assert described().titled("Title") == "Title"
    assert Described(pd.DataFrame({"seed": [0]}))["dataset"] == "standard normal input"


def test_what_cells_differ_in_is_no_word():
    with pytest.raises(StoreError, match=r"cells differ in rate \(10, 2\); the figure needs one"):
        described(table(rate=["10", "2", "2"])).fill("{c[rate]}")
    with pytest.raises(StoreError, match="the table has no provenance"):
        described(**dict.fromkeys(CONFIG)).fill("{training}")


def sheet(*parts, words=WORDS, frame=None, size=(6, 4)):
    def draw(sheet): ...

    for part in parts:
        draw = part(draw)
    declared = figure(words, tables=("t",), size=size)(draw)
    return Sheet(declared, {"t": table() if frame is None else frame}, "B1 reproduced.")


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_a_page_has_title_legend_and_caption():
    made = sheet(Legend(looks.TREATMENTS, "norm", theory=True, published=True))
    made.axes[0, 0].plot([1], [1], "x", label=marks.LOST)
    made.finish()
    caption = (
        "MNIST; 50% of 0.5, 1; n = 3 seeds. Crosses at the edge: NaN or infinite in some seed."
    )
    assert made.caption() == f"{caption} B1 reproduced."
    assert made.alt() == f"A title. {made.caption()} More."
    title, shown = texts(made.figure)
    assert (title, " ".join(shown.split())) == ("A title", made.caption())
    (legend,) = made.figure.legends
    labels = [entry.get_text() for entry in legend.get_texts()]
    assert labels == ["before tanh", "theory", "published value"]
    with style.style():
        assert style.render(made.figure) == style.render(made.figure)


def test_a_picture_of_few_colours_looks_like_that_of_all():
    figure, buffer = Figure(figsize=(3, 2), dpi=100), io.BytesIO()
    figure.subplots().scatter(*np.mgrid[:50, :40], c=np.arange(2000), s=40)
    with style.style():
        files = style.render(figure, dpi=100)
        figure.savefig(buffer, dpi=100)
    few, all_ = (Image.open(io.BytesIO(b)) for b in (files["png"], buffer.getvalue()))
    assert len(few.convert("RGB").getcolors(few.width * few.height)) <= 256
    few, all_ = (np.asarray(picture.convert("RGB"), int) for picture in (few, all_))
    assert few.shape == all_.shape
    assert abs(few - all_).max() <= 24


def test_values_of_a_document_have_no_entry_beside_other_data():
    made = sheet(Legend([], published=True), frame=table(data="digits"))
    made.finish()
    assert not made.figure.legends


def test_a_grid_is_labelled_by_what_it_shows():
    grid = Panels(
        rows={"a": "A", "b": "B"},
        columns=facet("norm", {"none": "N", **looks.TREATMENTS}),
        x={"b": "x"},
        share="row",
    )
    made = sheet(grid, frame=table(norm=["before", "none", "none"]))
    assert (made.rows, made.columns) == (["a", "b"], ["none", "before"])
    assert [(row, column) for row, column, _ in made.panels()] == [
        ("a", "none"), ("a", "before"), ("b", "none"), ("b", "before"),
    ]  # fmt: skip
    assert [ax.get_title() for ax in made.axes[0]] == ["no batchnorm", "before tanh"]
    assert [ax.get_ylabel() for ax in made.axes[:, 0]] == ["A", "B"]
    assert [[ax.get_xlabel() for ax in row] for row in made.axes] == [["", ""], ["x", "x"]]
    assert made.axes[0, 0].get_shared_y_axes().joined(made.axes[0, 0], made.axes[0, 1])
    assert [ax.get_xlabel() for ax in sheet(Panels(columns=2, x=("u", "v"))).axes[0]] == ["u", "v"]


def test_a_slide_shows_some_panels_with_the_labels_of_their_rows_and_columns():
    grid = Panels(rows={"a": "A", "b": "B"}, columns={1: "One", 2: "Two"}, x="steps", share="row")
    made = sheet(grid, Slide(((0, 1), (1, 0), (1, 1), (5, 5))))
    made.axes[1, 0].set_title("own")
    made.finish(slide=True)
    shown = [ax for ax in made.figure.axes if ax.get_visible()]
    assert shown == [made.axes[0, 1], made.axes[1, 0], made.axes[1, 1]]
    assert [ax.get_title() for ax in shown] == ["Two", "One\nown", "Two"]
    assert [ax.get_ylabel() for ax in shown] == ["A", "B", ""]
    assert [ax.get_xlabel() for ax in shown] == ["steps"] * 3
    assert [ax.yaxis.get_tick_params()["labelleft"] for ax in shown] == [True, True, False]
    assert texts(made.figure) == ["A title", "MNIST, n = 3 seeds, 95% t-intervals"]
    assert tuple(made.figure.get_size_inches() * style.SLIDE_DPI) == pytest.approx((1920, 1080))


@pytest.mark.parametrize(("ticks", "label"), [(["x", "y"], ""), (["1", "$10^1$"], "A")])
def test_an_axis_of_names_has_not_the_label_of_its_row(ticks, label):
    made = sheet(Panels(rows={"a": "A"}, columns=2), Slide(((0, 1),)))
    made.axes[0, 1].set_yticks([0, 1], ticks)
    made.finish(slide=True)
    assert made.axes[0, 1].get_ylabel() == label


def test_axes_that_are_joined_stand_in_all_their_places():
    made = sheet(Panels(rows=2, columns={1: "One", 2: "Two"}), Slide(((1, 1),)))
    joined = made.join(1, slice(None))
    assert list(made.axes[1]) == [joined, joined]
    made.finish(slide=True)
    assert [ax.get_title() for ax in made.figure.axes if ax.get_visible()] == [""]


def test_a_long_caption_adds_to_the_height_and_a_legend_takes_few_rows():
    heights = []
    for count in (1, 60):
        made = sheet(words=f"T.\n\n{'words ' * count}")
        made.finish()
        heights.append(made.figure.get_size_inches()[1])
    assert heights[0] == 4 < heights[1]
    entries = [style.key(name) for name in ("a", "b" * 60, "c", "d")]
    for width, columns in ((9.0, 4), (5.0, 2), (3.0, 1)):
        made = sheet(Legend(entries), size=(width, 3))
        made.finish()
        assert made.figure.legends[0]._ncols == columns


def test_looks_of_one_kind_differ_in_colour_and_in_marker_or_line():
    groups = {name: group for name, group in vars(looks).items() if isinstance(group, dict)}
    groups = {name: group for name, group in groups.items() if name.isupper()}
    del groups["INITS"]  # of two documents, whose figures have none in common
    assert len(groups) > 10
    for name, group in groups.items():
        colors = {color for _, color, _, _ in group.values()}
        shapes = {(str(line), marker) for _, _, line, marker in group.values()}
        assert len(colors) == len(shapes) == len(group), name
