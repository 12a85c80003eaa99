"""What is told of sweeps: what is finished, runs, failed and is missing, and how scripts end."""

import os
import signal

import pytest

from gpubn.errors import ConfigError
from gpubn.rows import Failure, Observation
from gpubn.sweeps import cli, status
from gpubn.sweeps.compose import expand
from gpubn.sweeps.store.leases import Leases
from gpubn.sweeps.tuning import Stages


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


def test_the_state_of_a_sweep_that_tunes(store):
    """The cells that will be held count, although nobody knows yet which they are."""
    grid = ["experiment=rate_sweep", "data=digits", "norm=none", "optim.rate=0.1,1.0,3.0"]
    cells = expand([*grid, "seeds=3", "tuning=rates"])
    tanh, relu = (arm.trials for arm in Stages.of(cells).arms)
    provenance = {"backend": "numpy", "seconds": 60.0, "data": {}}

    def save(cell, loss):
        store.save(cell, [Observation(1000, 10, None, "batch_loss", loss)], provenance)

    def look():
        state = status.inspect("a sweep", cells, store)
        _, line, tuning, *_ = status.report([state], store)
        assert state.cells == 6 + 2
        return (state.done, state.missing, state.seconds_left), line.split()[0], tuning.strip()

    said = "tuning: {} of 2 arms have found their rate"
    for trial in (*tanh[:2], relu[0]):
        save(trial, 1.0)
    assert look() == ((3, 5, 60.0 * 5), "3/8", said.format(0))
    save(tanh[2], 0.5)
    assert look() == ((4, 4, 60.0 * 4), "4/8", said.format(1))
    held = next(c for c in cells if (c.axes["activation"], c.axes["rate"]) == ("tanh", "3.0"))
    save(held, 0.5)
    assert look() == ((5, 3, 60.0 * 3), "5/8", said.format(1))
    store.save_failure(relu[1], Failure("why", "where"))
    failed = status.inspect("a sweep", cells, store)
    (line,) = (line for line in status.report([failed], store) if "failed: " in line)
    assert line.strip() == f"failed: {str(relu[1])[:-1]}, first_seed=1000): why"
    other = expand([*grid, "seeds=3", "tuning=rates", "tuning.metric=best_test_loss"])
    assert status.inspect("not recorded", other, store).tuned == 0


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
