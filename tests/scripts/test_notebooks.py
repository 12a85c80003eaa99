"""The notebooks for teaching run, in short form; a cell that fails is named."""

import os
from importlib.util import find_spec

import pytest
from notebooks.execute import FOLDER, NOTEBOOKS, executed

from gpubn.errors import CellError

LACKING = [m for m in ("ipykernel", "ipywidgets", "jupytext", "nbclient") if find_spec(m) is None]
if LACKING and os.environ.get("CI") != "true":
    pytest.skip(f"notebooks need {', '.join(LACKING)}", allow_module_level=True)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setenv("GPUBN_NOTEBOOKS", "short")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_pictures_sliders_and_verdicts(name, tmp_path):
    notebook = executed(FOLDER / f"{name}.py", tmp_path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output["data"] for cell in cells for output in cell.outputs if "data" in output]
    texts = [data.get("text/markdown", "") for data in shown]
    assert sum("image/svg+xml" in data for data in shown) >= 6
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in shown) >= 2
    assert sum("../claims.md#" in text for text in texts) >= 5
    assert not [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    if name == "batchnorm_on_mnist":
        assert "These are scikit-learn's digits, not MNIST" in texts[0]


def test_a_question_stands_before_the_claims_that_decide_it():
    for name in NOTEBOOKS:
        text = (FOLDER / f"{name}.py").read_text()
        assert text.count("**Question.**") >= 4
        assert text.index("**Question.**") < text.index('decided("')


def test_a_cell_that_fails_is_named(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("# %%\n1 / 0\n")
    with pytest.raises(CellError, match=r"a cell of broken.py failed \(ZeroDivisionError: .*zero"):
        executed(broken, tmp_path)
