"""The raster of verdicts: legible with all claims and universes, and what each cell says."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from gpubn.errors import StoreError
from gpubn.report.claims import universes as report
from gpubn.report.claims.decide import WORDS
from gpubn.report.figures import drawing
from gpubn.report.figures.style import CAPTION_LINES, SLIDE_DPI, style
from gpubn.report.tables import read_table
from tests.report.figures.test_scripts import crowded, declared, texts

NAMES = [f"universe {letter}" for letter in "abcdefghijklm"]
IDS = [f"{letter}{n}" for letter, count in zip("ABCD", (19, 27, 9, 22), strict=True)
       for n in range(1, count + 1)]  # fmt: skip
CLAIM = (
    "Without batchnorm the variance of the activations is 1.0038 at the input, and less after it."
)


@pytest.fixture
def frame(tmp_path):
    """frame(cells, names, ids): the table of universes with these cells, elsewhere `reproduced`.

    A cell is (universe, id): word, verdict, whether the universe applies.
    """

    def make(cells=(), names=NAMES, ids=IDS):
        given = dict(cells)
        default = {
            id_: {**report._row("default", id_, "reproduced", "reproduced"),
                  "claim": CLAIM, "predicted": WORDS[place % 6]}
            for place, id_ in enumerate(ids)
        }  # fmt: skip
        rows = {}
        for name in names:
            rows[name] = []
            for id_ in ids:
                word, verdict, applies = given.get((name, id_), ("reproduced", "reproduced", "yes"))
                rows[name].append({**report._row(name, id_, word, verdict), "applies": applies})
        report.write_universes(tmp_path, default, rows, {n: f"{n}, long" for n in names})
        return read_table(tmp_path / "tables" / "universes.csv")

    return make


def drawn(frame):
    (script,) = drawing.find(["universes"])
    with style():
        return drawing.compose(script, {"universes": frame})


def every_word():
    words = [*WORDS, report.NOT_RUN, report.NO_DATA]
    for i, name in enumerate(NAMES):
        for j, id_ in enumerate(IDS):
            word = words[(i + j) % len(words)]
            decided = word in WORDS and word != report.NO_VERDICT
            yield (name, id_), (word, word if decided else "", "no" if (i * j) % 5 == 4 else "yes")


def test_all_claims_in_all_universes_can_be_read_as_page_and_as_slide(frame):
    sheet = drawn(frame(every_word()))
    with style():
        sheet.finish()
        assert sheet.figure.get_size_inches()[0] <= 7.5
        assert sheet.figure.get_size_inches()[1] <= 11
        assert sheet.figure.texts[-1].get_text().count("\n") < CAPTION_LINES
        assert crowded(sheet.figure) == []
        assert [len(ax.get_yticks()) for ax in sheet.figure.axes] == [19, 27, 9, 22]
        for part in (*sheet.figure.texts, *sheet.figure.legends):
            part.remove()
        sheet.finish(slide=True)
        assert crowded(sheet.figure) == []
    assert min(text.get_fontsize() for text in texts(sheet.figure)) * SLIDE_DPI / 72 >= 18


def test_the_words_say_how_far_verdicts_carry(frame):
    a, b, c = ids = ["A1", "A2", "B1"]
    cells = {
        ("x", a): ("reproduced", "reproduced when it rains", "yes"),
        ("x", b): ("contradicted", "contradicted", "yes"),
        ("y", b): ("contradicted", "contradicted", "no"),
        ("x", c): ("no data", "", "yes"),
        ("y", c): ("not run", "", "yes"),
    }
    sheet = drawn(frame(cells.items(), ["x", "y"], ids))
    assert "Rows are the 3 claims" in sheet.caption()
    assert (
        "Of 2 claims that at least half of the universes touch, 0 have the default's verdict"
        in sheet.alt()
    )
    assert "in all of theirs, 1 its word" in sheet.alt()
    shown = [text.get_text() for ax in sheet.figure.axes for text in ax.texts]
    assert [text for text in shown if "/" in text or text == "–"] == ["2/2", "0/1", "–"]
    first = [label.get_text() for label in sheet.figure.axes[0].get_yticklabels()]
    assert [label[:2] for label in first] == ["A1", "A2"]


def test_the_claims_that_most_universes_agree_with_come_first(frame):
    cells = {("x", "A1"): ("undecided", "undecided", "yes")}
    sheet = drawn(frame(cells.items(), ["x", "y"], ["A1", "A2", "A3"]))
    labels = [label.get_text()[:2] for label in sheet.figure.axes[0].get_yticklabels()]
    assert labels == ["A2", "A3", "A1"]


def test_words_differ_in_sign_and_alike_ones_in_lightness_too():
    looks = declared("universes")["WORDS"]
    assert {word.replace(",", "") for word in WORDS} | {"no data", "not run"} == {*looks}
    signs = [sign for _, _, sign, _ in looks.values() if sign]
    assert len({*signs}) == len(signs) == len(WORDS)
    for _, color, sign, ink in looks.values():
        grey = [np.dot(to_rgb(c), (0.2126, 0.7152, 0.0722)) for c in (color, ink)]
        assert not sign or abs(grey[0] - grey[1]) > 0.3


def test_rows_that_nothing_tells_apart_are_refused(frame):
    table = frame(names=["x"], ids=["A1"])
    doubled = pd.concat([table.assign(rate=rate) for rate in ("0.1", "0.3")])
    doubled.attrs = table.attrs
    with pytest.raises(StoreError, match=r"universes cannot be drawn: .*rate"):
        drawn(doubled)
