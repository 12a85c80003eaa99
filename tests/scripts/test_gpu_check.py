"""The check of a card: what it runs, what it says, and that its oracle finds what is planted."""

import sys
from itertools import product

import gpu_check
import pytest
from gpu_check import Step, check, compare, main, plan

from gpubn.kernels.cuda.batch_norm_launch import Call, choose_launch, prepare

PYTHON = [sys.executable, "-c"]


def test_without_a_card_one_step_says_why_and_no_other_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--results", str(tmp_path)])
    monkeypatch.setattr("gpu_check.plan", lambda *a: [s for s in plan(*a) if s.name != "tests"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code
    page = (tmp_path / "gpu_check.md").read_text().splitlines()[2:]
    assert "| card | WRONG |" in page[0]
    assert "CuPy" in page[0]
    assert all("| not run | 0 |" in line for line in page[1:])
    assert len(capsys.readouterr().out.splitlines()) == len(page)


def test_each_step_has_its_limit_and_leaves_its_log(tmp_path):
    steps = [
        Step("quick", 60, [*PYTHON, "print('first'); print('all | right')"]),
        Step("endless", 0.5, [*PYTHON, "print('begun', flush=True)\nwhile True: pass"]),
        Step("missing", 60, [], "it is not there"),
        Step("failing", 60, [*PYTHON, "raise SystemExit('why')"]),
    ]
    assert not check(steps, tmp_path, 60)
    page = (tmp_path / "gpu_check.md").read_text()
    for line in ("| quick | right", "all / right", "| missing | not run", "it is not there"):
        assert line in page
    assert "| endless | WRONG" in page
    assert "| failing | WRONG" in page
    assert (tmp_path / "quick.log").read_text() == "first\nall | right\n"
    assert check(steps[:1], tmp_path, 60)


def test_an_unknown_step_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--only", "card", "speed"])
    with pytest.raises(SystemExit, match="--only is speed; expected some of card, compile"):
        main()


@pytest.mark.parametrize(
    "backend", ["shim", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)
def test_what_is_right_is_within_what_is_allowed(backend):
    found = dict(compare(backend, [(3, 33, 7), (700, 12)]))
    assert len(found) == 2 * 4 * 6
    assert max(found.values()) < 0.5


def test_each_fault_is_planted_in_what_is_launched_and_taken_out_again(monkeypatch):
    def launched():
        """The sources of a slab, a cluster and the tiled form, both ways."""
        for backward, (n, d) in product((False, True), ((32, 128), (8192, 64), (70_000, 64))):
            plan = choose_launch(backward, (1, n, d), "float32", 4, 90, 227 << 10)
            call = Call((n, d), "float32", 4, n, "linear", (True, True))
            yield prepare("backward" if backward else "forward", call, plan).kernel.text

    def look(backend, shapes):
        return [("faults", 2.0 * (set(launched()) != sound))]

    sound = set(launched())
    monkeypatch.setattr(gpu_check, "compare", look)
    assert not gpu_check._is_found(None, "", "")
    for before, after in gpu_check.FAULTS.values():
        assert gpu_check._is_found(None, before, after)
        assert set(launched()) == sound
