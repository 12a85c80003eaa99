"""When Ctrl-C raises, and when it is only remembered."""

import signal
import threading

import pytest
from omegaconf import OmegaConf

from gpubn.sweeps import interrupt, task


@pytest.fixture(autouse=True)
def pressed(monkeypatch):
    """Nobody has pressed Ctrl-C yet; the handler is as before at the end."""
    event = threading.Event()
    monkeypatch.setattr(interrupt, "_pressed", event)
    handler = signal.getsignal(signal.SIGINT)
    yield event
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("again", [False, True])
def test_a_worker_of_a_pool_is_interrupted_inside_its_job_alone(monkeypatch, again):
    """Between jobs it sends what they returned; the next one stops before it begins."""
    ran = []

    def job(composed, outcome):
        ran.append(composed)
        if again and len(ran) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(task, "_run", job)
    monkeypatch.setattr(task, "_number_in_pool", lambda: 0)
    work = OmegaConf.create({})
    if again:
        with pytest.raises(KeyboardInterrupt):
            task.run(work)
    else:
        task.run(work)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        task.run(work)
    assert len(ran) == 1


def test_outside_a_pool_ctrl_c_raises_after_a_job_as_before(monkeypatch):
    monkeypatch.setattr(task, "_run", lambda composed, outcome: None)
    interrupt.listen()
    task.run(OmegaConf.create({}))
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
