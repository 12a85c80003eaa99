"""The notebooks for teaching run, in short form; a cell that fails is named."""

import os
from importlib.util import find_spec

import pytest
from notebooks import execute
from notebooks.execute import FOLDER, NOTEBOOKS, behind_sliders, executed

from gpubn.errors import CellError

LACKING = [m for m in ("ipykernel", "ipywidgets", "jupytext", "nbclient") if find_spec(m) is None]
if LACKING and os.environ.get("CI") != "true":
    pytest.skip(f"notebooks need {', '.join(LACKING)}", allow_module_level=True)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setenv("GPUBN_NOTEBOOKS", "short")


MOVED = {
    "the_20_layer_network": ("show_weights", 0.14, "Weights 0.14, no batchnorm"),
    "batchnorm_on_mnist": ("show_outputs", "after tanh", "Before training, after tanh"),
}
"""Notebook -> a function, a value that its first slider is moved to, and what is shown then."""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_pictures_sliders_and_verdicts(name, tmp_path):
    function, value, words = MOVED[name]
    script = tmp_path / f"{name}.py"
    move = f"\n# %%\n{function}.widget.children[0].value = {value!r}\n"
    script.write_text((FOLDER / script.name).read_text() + move)
    notebook = executed(script, tmp_path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output["data"] for cell in cells for output in cell.outputs if "data" in output]
    texts = [data.get("text/markdown", "") for data in shown]
    assert sum("image/svg+xml" in data for data in shown) >= 6
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in shown) >= 2
    assert sum("../claims.md#" in text for text in texts) >= 5
    assert not [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]
    assert any(words in o["data"].get("image/svg+xml", "") for o in behind_sliders(notebook))
    if name == "batchnorm_on_mnist":
        assert "These are scikit-learn's digits, not MNIST" in texts[0]


def test_a_question_stands_before_the_claims_that_decide_it():
    for name in NOTEBOOKS:
        text = (FOLDER / f"{name}.py").read_text()
        assert text.count("**Question.**") >= 4
        assert text.index("**Question.**") < text.index('decided("')


@pytest.mark.parametrize("fails", ["1 / 0", "widgets.interact(lambda n: n / 0, n=1);"])
def test_a_cell_that_fails_is_named_behind_a_slider_as_well(fails, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(f"# %%\nimport ipywidgets as widgets\n{fails}\n")
    with pytest.raises(CellError, match=r"a cell of broken.py failed \(ZeroDivisionError: .*zero"):
        executed(broken, tmp_path)


def test_a_cell_that_takes_too_long_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "MOST", 15)
    slow = tmp_path / "slow.py"
    slow.write_text("# %%\nfrom threading import Event\nEvent().wait()\n")
    with pytest.raises(CellError, match=r"a cell of slow.py failed \(timeout: 1 s\)"):
        executed(slow, tmp_path)


def test_an_answer_that_comes_while_a_slider_s_state_is_sent_is_seen(tmp_path, monkeypatch):
    import zmq
    from nbclient.output_widget import OutputWidget

    publish, came = OutputWidget._publish_msg, []

    def publish_late(widget, *args, **kwargs):
        socket = widget.kernel_client.shell_channel.socket.underlying
        (tmp_path / "seen").touch()  # for which the cell waits
        came.append(zmq.Socket.shadow(socket).poll(10_000))  # and takes the sign of its answer
        publish(widget, *args, **kwargs)

    monkeypatch.setattr(OutputWidget, "_publish_msg", publish_late)
    moved = tmp_path / "moved.py"
    moved.write_text(
        "# %%\nfrom pathlib import Path\nimport ipywidgets\n"
        "ipywidgets.interact(lambda n: print(n), n=1)\n"
        'while not Path("seen").exists():\n    pass\n'
    )
    executed(moved, tmp_path)
    assert came[0] == zmq.POLLIN
