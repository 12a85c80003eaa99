"""The launcher itself. `hydra_plugins.vectorized_launcher` shows it to Hydra."""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from gpubn.vectorized.job import KeptReturn, run_job
from gpubn.vectorized.loader import FastLoader
from gpubn.vectorized.progress import Progress
from gpubn.vectorized.resume import MARK, kept_return, mark
from gpubn.vectorized.task import is_quiet, together_of

log = logging.getLogger(__name__)


class VectorizedLauncher(Launcher):
    """Launches all jobs of a multirun through one call of the task's `together`.

    Args:
        console: whether the logs of the jobs go to the terminal too; each has its own file anyway.
        part: "2/8" runs the second eighth of the jobs: one of eight machines, or of a Slurm array.
        resume: leave out jobs that were finished, with `resume`, in the folder that they have.

    Attributes:
        part: (2, 8) for "2/8"; a sweeper that divides its jobs itself sets it to (1, 1).
    """

    def __init__(self, console: bool = False, part: str = "1/1", resume: bool = False) -> None:
        self._console, self.part, self._resume = console, _parse_part(part), resume
        self._context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember the sweep. From now on its jobs are composed fast, the sweeper's check too."""
        self._loader = hydra_context.config_loader = FastLoader(
            hydra_context.config_loader.get_search_path()
        )
        self._context, self._task, self._config = hydra_context, task_function, config
        resolved = OmegaConf.to_container(config.hydra.hydra_logging, resolve=True)
        self._logging = DictConfig(resolved)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, as they come from `together`, and return them in their order."""
        setup_globals()
        self._log_as_launcher()
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        start, stop = limits(len(job_overrides), self.part)
        jobs = job_overrides[start:stop]
        log.info("Launching %d jobs, together where they can be", len(jobs))
        first = initial_job_idx + start
        returns = self._finished_before(jobs, first) if self._resume else {}
        left = [index for index in range(len(jobs)) if index not in returns]
        progress = None if is_quiet(self._task) else Progress(len(jobs), len(returns))
        try:
            for place, task in self._tasks([jobs[index] for index in left]) if left else ():
                index = left[place]
                done = returns[index] = self._run(jobs[index], first + index, task)
                if progress is not None:
                    overrides = " ".join(filter_overrides(jobs[index]))
                    progress.add(f"#{first + index} {overrides} in {done.folder}", done)
        finally:
            if progress is not None:
                progress.end()
        return [returns[index] for index in range(len(jobs))]

    def _finished_before(self, jobs: Sequence[Sequence[str]], first: int) -> dict[int, JobReturn]:
        """Return what those jobs returned that were finished in their folders, by index."""
        found = {
            index: kept_return(self._loader.job(self._config, job), first + index)
            for index, job in enumerate(jobs)
        }
        return {index: done for index, done in found.items() if done is not None}

    def _tasks(
        self, jobs: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, Callable[[DictConfig], Any]]]:
        """Yield each job's index and what is left for it to do."""
        together, waiting = together_of(self._task), set(range(len(jobs)))
        if together is None:
            log.warning(
                "%s has no vectorized form: its jobs run one after another (decorate it with "
                "@vectorized(together), below @hydra.main)",
                getattr(self._task, "__name__", self._task),
            )
        else:
            try:
                configs = [self._loader.job(self._config, job).task_config() for job in jobs]
                for index, share in together(configs):
                    waiting.discard(index)
                    yield index, self._with_share(share)
            except Exception:
                if not waiting:
                    raise
                log.warning("%d jobs run one after another", len(waiting), exc_info=True)
        for index in sorted(waiting):
            yield index, self._task

    def _with_share(self, share: Any) -> Callable[[DictConfig], Any]:
        def task(config: DictConfig) -> Any:
            if isinstance(share, BaseException):
                raise share
            return self._task(config, share)  # type: ignore[call-arg]

        return functools.update_wrapper(task, self._task)

    def _run(
        self, overrides: Sequence[str], number: int, task: Callable[[DictConfig], Any]
    ) -> KeptReturn:
        assert self._context is not None
        log.debug("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        job = self._loader.job(self._config, overrides)
        try:
            done = run_job(job, number, task, self._context, console=self._console)
        finally:
            self._log_as_launcher()
        if self._resume:
            mark(done, job, done.folder)
        else:  # what an earlier run left there is out of date
            (done.folder / MARK).unlink(missing_ok=True)
        return done

    def _log_as_launcher(self) -> None:
        configure_log(self._logging, self._config.hydra.verbose)


def limits(count: int, part: tuple[int, int]) -> tuple[int, int]:
    """Return where part i of n begins in a list of `count`, and where it ends."""
    number, parts = part
    return (count * (number - 1)) // parts, (count * number) // parts


def _parse_part(part: str) -> tuple[int, int]:
    number, slash, parts = part.partition("/")
    with suppress(ValueError):
        if slash and 1 <= int(number) <= int(parts):
            return int(number), int(parts)
    raise HydraException(f"hydra.launcher.part is {part!r}; expected i/n with i from 1 to n")
