"""Time a training in one launch beside recorded steps, by the number of networks, on one card.

Writes `gpu_one_launch.csv` into `benchmarks/` of the results folder: seconds of a whole call of
`gpubn.nn.train.train`, from the drawing of its batches to the losses on the host.
"""

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import harness
import numpy as np
from race.contest import median_interval
from race.training import TrainingWork, mnist_or_random, random_images

from gpubn.backend import Backend, resolve
from gpubn.errors import GpubnError
from gpubn.files import git_revision
from gpubn.report.benchmarks import write_benchmark

STEM = "gpu_one_launch"
NETWORKS = (1, 2, 4, 8, 15, 16, 30, 64, 128, 256)
"""A card of 132 multiprocessors runs 15 clusters of 8 blocks at once."""
WAYS = {"recorded steps": False, "one launch": True}


def measure(backend: Backend, work: TrainingWork, rounds: int) -> list[dict[str, object]]:
    """Return a row for each number of networks and way."""
    rows: list[dict[str, object]] = []
    for networks in NETWORKS:
        of = replace(work, networks=networks)
        ways = {way: of.trainer(backend, one_launch=one) for way, one in WAYS.items()}
        last = {way: train()[-1] for way, train in ways.items()}  # compiles and records
        turns = [partial(harness.seconds_of, train) for train in ways.values()]
        for way, seconds in zip(ways, harness.take_turns(rounds, turns), strict=True):
            low, high = median_interval(seconds)
            median = float(np.median(seconds))
            rows.append(
                {
                    **{"networks": networks, "way": way, "seconds": f"{median:.6g}"},
                    **{"low": f"{low:.6g}", "high": f"{high:.6g}", "rounds": rounds},
                    "step_us_each": f"{1e6 * median / work.steps / networks:.4g}",
                    "last_loss": f"{last[way].mean():.4g}",
                    **{"shape": of.columns["shape"], "model": of.columns["model"]},
                    "device": backend.device,
                }
            )
            print(*rows[-1].values(), flush=True)
    return rows


def main(options: argparse.Namespace) -> None:
    """Measure and write."""
    backend = resolve("cupy")
    data = mnist_or_random() if options.mnist else random_images()
    rows = measure(backend, TrainingWork(data), options.rounds)
    facts = {**backend.facts(), "revision": options.revision or git_revision()}
    facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    write_benchmark(options.results / "benchmarks" / f"{STEM}.csv", rows, facts)


if __name__ == "__main__":
    asked = harness.parser(__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--mnist", action="store_true", help="its images, not random ones")
    asked.add_argument("--revision", help="what is measured, where there is no git")
    try:
        main(asked.parse_args())
    except GpubnError as error:
        sys.exit(f"error: {error}")
