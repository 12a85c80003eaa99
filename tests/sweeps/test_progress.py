"""What a person sees of a sweep: a bar on a terminal and lines above it, or plain lines."""

import io
import logging
import math
import os
import re
import sys
from types import SimpleNamespace

import pytest

from gpubn.rows import Observation
from gpubn.sweeps import progress as display
from gpubn.sweeps.progress import ConsoleHandler, Display, last_loss

OWNER = "GPUBN_DISPLAY"
INF, NAN = math.inf, math.nan


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """The lines that stand on it in the end: after a return what follows overwrites."""
        lines = []
        for raw in self.getvalue().split("\n"):
            line = []
            for part in raw.split("\r"):
                line[: len(part)] = part
            lines.append("".join(line).rstrip())
        return lines


@pytest.fixture
def use(monkeypatch, caplog):
    """use(stream): stdout, stderr and the log, from INFO up, go there.

    It is called in the test, as pytest sets its own streams late.
    """
    root, added = logging.getLogger(), []

    def redirect(stream):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        caplog.set_level(logging.INFO)
        added.append(ConsoleHandler())
        root.addHandler(added[-1])
        return stream

    yield redirect
    for handler in added:
        root.removeHandler(handler)


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the display reads, in `clock.now`."""
    state = SimpleNamespace(now=100.0)
    monkeypatch.setattr(display, "time", SimpleNamespace(perf_counter=lambda: state.now))
    return state


def losses(*values, step=10):
    return [Observation(seed, step, None, "batch_loss", v) for seed, v in enumerate(values)]


# Lines --------------------------------------------------------------------------------------------


def test_one_line_a_cell_where_there_is_no_terminal(store, fake, use, outcomes):
    plain = use(io.StringIO())
    fake.fail["b"] = ValueError("not\nso")
    outcomes([fake.cell(init) for init in "abc"], store)
    fake.rows[:] = losses(0.25, 0.5, step=7)
    outcomes([fake.cell("d", seeds=2), fake.cell("d", seeds=3)], store)
    fake.rows[:] = losses(1.0, NAN)
    outcomes([fake.cell("e")], store)
    assert plain.getvalue().splitlines() == [
        "running fake: 3 cells",
        "1/3 fake (data=gaussian, init=a): 0.0 s",
        "fake (data=gaussian, init=b) failed: ValueError: not so",
        "3/3 fake (data=gaussian, init=c): 0.0 s",
        "running fake: 2 cells",
        "1/2 fake (data=gaussian, init=d, seeds=2): 0.0 s, loss 0.375",
        "2/2 fake (data=gaussian, init=d, seeds=3): 0.0 s, loss 0.375",
        "running fake: 1 cell",
        "1/1 fake (data=gaussian, init=e): 0.0 s, loss nan",
    ]


def lines_of(cells, seconds, clock, plain):
    """The words for cells each of which takes so long, without those at the start."""
    with Display(cells) as shown:
        for cell in cells:
            clock.now += seconds
            shown.finished(cell, [], seconds)
    return plain.getvalue().splitlines()[1:]


def test_many_cells_share_some_lines(fake, use, clock):
    cells = [fake.cell(seeds=n) for n in range(1, 601)]
    lines = lines_of(cells, 0.005, clock, use(io.StringIO()))
    of = [int(line.split("/")[0]) for line in lines]
    assert of[:100] == list(range(1, 101))
    assert len(of) <= 100 + 2 * 3 + 2
    assert of[-1] == 600
    assert all(" left" not in line for line in lines)


def test_a_line_says_how_long_it_will_take(fake, use, clock):
    lines = lines_of([fake.cell(init) for init in "abcd"], 30.0, clock, use(io.StringIO()))
    assert [line.rpartition(": ")[2] for line in lines] == [
        *("30.0 s", "30.0 s, about 01:00 left", "30.0 s, about 00:30 left", "30.0 s"),
    ]


# A bar --------------------------------------------------------------------------------------------


def test_a_bar_on_a_terminal(store, fake, use, outcomes):
    """With lines that stand whole above it, and none for what is finished."""
    terminal = use(Terminal())
    fake.rows[:] = losses(0.25, 0.5)
    sentences = {init: f"because of {init * 40}" for init in "bdf"}
    fake.fail.update({init: ValueError(sentence) for init, sentence in sentences.items()})
    outcomes([fake.cell(init) for init in "abcdefg"], store)
    *warnings, bar, after = terminal.screen()
    assert warnings == [
        f"fake (data=gaussian, init={init}) failed: ValueError: {sentence}"
        for init, sentence in sentences.items()
    ]
    assert re.match(r"fake: +100%\|.*7/7 cells, 3 failed, loss 0\.375", bar)
    assert after == ""
    assert "0/7 cells" in terminal.getvalue()
    assert "1/7 cells, loss 0.375" in terminal.getvalue()


# Whose display it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_what_another_process_shows_is_not_shown_again(
    store, fake, monkeypatch, use, outcomes, stream, caplog
):
    monkeypatch.setenv(OWNER, "1")
    shown = use(stream())
    fake.fail["b"] = ValueError("no")
    with Display([fake.cell()]):
        logging.getLogger("gpubn.mine").info("working")
        logging.getLogger("gpubn.mine").warning("careful")
    outcomes([fake.cell(init) for init in "abc"], store)
    assert shown.getvalue() == "careful\n"
    # As a log file sees it.
    failed = "fake (data=gaussian, init=b) failed: ValueError: no"
    assert caplog.messages == ["working", "careful", failed]
    assert os.environ[OWNER] == "1"


def test_nobody_reads_any_more(use, monkeypatch):
    """As with `| head`."""

    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    use(Closed())
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())
    logging.getLogger("gpubn.mine").warning("careful")
    assert errors.getvalue() == ""


# The loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "loss"),
    [
        ([], None),
        ([Observation(0, 3, None, "test_loss", 1.0)], None),
        ([Observation(0, 3, None, "train_loss", 1.0), *losses(9.0, step=7)], 1.0),
        ([Observation(None, 3, None, "batch_loss", 1.0)], None),
        ([Observation(0, None, None, "batch_loss", 1.0)], None),
        ([*losses(1.0, 2.0, step=5), *losses(9.0, 9.0, step=0), *losses(3.0, 4.0, step=7)], 3.5),
        (losses(1.0, INF), INF),
        (losses(1e308, 1e308), 1e308),
        (losses(1.0, NAN), NAN),
    ],
)
def test_the_last_loss_is_the_mean_over_the_seeds(rows, loss):
    assert last_loss(iter(rows)) == pytest.approx(loss, nan_ok=True)
