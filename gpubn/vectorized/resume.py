"""Jobs that were finished before: each says so in a file of its folder, with what it returned."""

import logging
import os
import pickle
from contextlib import suppress
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from gpubn.vectorized.job import KeptReturn, folder_of, to_yaml
from gpubn.vectorized.loader import Job

log = logging.getLogger(__name__)

MARK = ".finished"
"""Pickled: the configuration as YAML, and the attributes of the return."""
_KEPT = ("task_name", "working_dir", "_return_value")


def mark(done: JobReturn, job: Job, folder: Path) -> None:
    """Leave the mark of a finished job in its folder; of one that failed there is none."""
    path = folder / MARK
    if done.status != JobStatus.COMPLETED:
        path.unlink(missing_ok=True)
        return
    kept = {name: getattr(done, name) for name in _KEPT}
    try:
        data = pickle.dumps((to_yaml(job.task_config()), kept))
    except Exception as error:
        log.warning("%s is run again each time: what it returns cannot be kept (%s)", folder, error)
        return
    part = path.with_name(f"{MARK}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def kept_return(job: Job, number: int) -> JobReturn | None:
    """Return what a job returned that was finished with this configuration, else None."""
    folder = folder_of(job, number)
    with suppress(Exception):  # whatever a damaged file, or a class that is gone, says to it
        config, kept = pickle.loads((folder / MARK).read_bytes())
        if config == to_yaml(job.task_config()):
            done = JobReturn(overrides=job.lines, status=JobStatus.COMPLETED)
            for name in _KEPT:
                setattr(done, name, kept[name])
            return KeptReturn(done, job, number, folder)
    return None
