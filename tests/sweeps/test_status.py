"""What is told of sweeps: what is finished, runs, failed and is missing, and how scripts end."""

import os
import signal

import pytest

from gpubn.errors import ConfigError
from gpubn.rows import Failure
from gpubn.sweeps import cli, status
from gpubn.sweeps.store.leases import Leases


def test_the_state_of_a_sweep(fake, store, monkeypatch):
    monkeypatch.setattr(status, "cores", lambda: 2)
    cells = [fake.cell(init) for init in "abcde"]
    provenance = {"backend": "numpy", "seconds": 60.0, "data": {}}
    store.save(cells[0], fake.rows, provenance)
    for cell in cells[1:3]:
        store.save_failure(cell, Failure("why", "where"))
    with Leases(store) as leases:
        leases.take(cells[2])  # it failed, and somebody runs it again
        leases.take(cells[3])
        state = status.inspect("a sweep", cells, store)
    assert (state.done, len(state.failed), state.missing, state.cells) == (1, 1, 1, 5)
    assert [cell for cell, _ in state.running] == cells[2:4]
    assert state.seconds_left == 180.0  # of what runs and what is missing
    _, line, running, failed, trace, *_ = status.report([state], store)
    assert line.split() == ["1/5", "2", "1", "1", "~01:30", "a", "sweep"]
    assert running.split() == ["running:", "process", str(os.getpid()), "on", os.uname().nodename]
    assert failed.strip() == f"failed: {cells[1]}: why"
    assert trace.endswith(str(store.failure_path(cells[1])))
    assert status.inspect("none", cells[4:], store).seconds_left is None
    assert list(status.report([], store)) == ["no sweep was begun here"]


def test_an_interrupt_inside_another_error_is_an_interrupt(capsys):
    def task():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ConfigError("a library gave up") from None

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit, match="130"):
            cli.main(task)
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.startswith("stopped: finished cells are kept")
