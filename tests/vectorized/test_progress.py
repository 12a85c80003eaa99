"""A sweep says how far it is, not too often, and at the end which jobs failed."""

import logging

import pytest
from hydra.core.utils import JobReturn, JobStatus

from gpubn.vectorized import progress, vectorized
from gpubn.vectorized.launcher import VectorizedLauncher

pytestmark = pytest.mark.usefixtures("own_folder")
FINE = JobReturn(status=JobStatus.COMPLETED)


def failed(error):
    done = JobReturn(status=JobStatus.FAILED)
    done.return_value = error
    return done


@pytest.fixture
def told(monkeypatch, caplog):
    """told(seconds, jobs, before): what is said of a sweep in which each job takes so long."""

    def of(seconds, jobs, before=0, done=FINE):
        now = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        caplog.clear()
        counted = progress.Progress(jobs, before)
        for number in range(before, jobs):
            now[0] += seconds
            counted.add(f"#{number}", done)
        counted.end()
        return [
            record.getMessage() for record in caplog.records if record.name == progress.__name__
        ]

    caplog.set_level(logging.INFO)
    return of


def test_it_says_how_many_are_done_and_how_long_the_rest_takes(told):
    assert told(1.0, 5) == [
        "2 of 5 jobs are done, about 0:00:03 left",
        "4 of 5 jobs are done, about 0:00:01 left",
        "5 of 5 jobs are done",
    ]
    assert told(30.0, 8, before=6) == [
        "7 of 8 jobs are done, 6 were before, about 0:00:30 left",
        "8 of 8 jobs are done, 6 were before",
    ]
    assert told(0.01, 100) == ["100 of 100 jobs are done"]  # it is over before a person asks


def test_in_a_long_sweep_it_speaks_seldom(told):
    assert 20 < len(told(1.0, 10_000)) < 200


def test_failures_are_summed_up_and_of_many_a_few_are_shown(told):
    said = told(0.0, 13, done=failed(KeyError("a\n b")))
    assert said[0] == "13 of 13 jobs are done, 13 of them failed"
    assert said[1] == r"failed: #0: KeyError: 'a\n b'"
    assert len(said) == 12
    assert said[-1] == "failed: 3 more"


def test_a_job_that_failed_is_named_with_its_overrides_and_folder(here, caplog, tmp_path):
    caplog.set_level(logging.INFO)

    def run(quiet=False):
        shares = [(0, "fine"), (1, ValueError("no\nnumber"))]
        task = vectorized(lambda configs: shares, quiet=quiet)(lambda config, share: share)
        caplog.clear()
        here.launch(VectorizedLauncher(), task, [["x=1"], ["x=2", "db=far"]], first=5)
        return [m for m in caplog.messages if "jobs are done" in m or "failed: " in m]

    assert run() == [
        "2 of 2 jobs are done, 1 of them failed",
        f"failed: #6 x=2 db=far in {tmp_path}/out/6: ValueError: no number",
    ]
    assert run(quiet=True) == []


def test_a_sweep_that_is_stopped_says_how_far_it_came(here, caplog):
    caplog.set_level(logging.INFO)

    def task(config, share):
        if config.x == 2:
            raise KeyboardInterrupt

    task = vectorized(enumerate)(task)
    with pytest.raises(KeyboardInterrupt):
        here.launch(VectorizedLauncher(), task, [["x=1"], ["x=2"], ["x=3"]])
    assert caplog.messages[-1] == "1 of 3 jobs are done"
