"""Time kernels and training beside PyTorch on the CPU, interleaved in one run.

Writes `results/benchmarks/cpu_training.csv` and `cpu_batchnorm.csv`, each with a JSON file that
says where they were made. Of many networks PyTorch trains one after another, so one is timed. A
benchmark, not a test: nothing fails when it is slow.
"""

import logging
from collections.abc import Iterable

import harness
from race.batchnorm import BatchnormWork
from race.contest import Contest
from race.contestants import batchnorm_entries, training_entries
from race.timings import Timing
from race.training import TrainingWork, mnist_or_random

from gpubn.backend import cores, resolve
from gpubn.errors import GpubnError
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")

NETWORKS = 10
SHAPES = ((32, 128), (256, 512), (1024, 1024), (4096, 1024), (16384, 1024))


def main() -> None:
    """Run both benchmarks and write their tables."""
    parser = harness.parser(__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="training steps of a network")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of training, ours and theirs")
    parser.add_argument("--repeats", type=int, default=50, help="rounds of a kernel")
    options = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        raise GpubnError(
            "PyTorch, the peer, is not installed; expected .venv/bin/python -m pip install "
            "torch==2.13.0"
        ) from error
    facts = {"torch": torch.__version__, "threads": cores()}
    data, backend, rows = mnist_or_random(), resolve("numpy"), []
    contest = Contest(backend, options.rounds)
    for norm in ("none", "before"):
        work = TrainingWork(data, options.steps, NETWORKS, norm=norm)
        about = {
            "work": f"train {NETWORKS} networks {data.features}-{work.width}-{data.classes}",
            "batchnorm": norm,
            "steps": work.steps,
            "batch": work.batch,
        }
        timings = contest.hold(work.columns, training_entries(work, backend, ["torch"]))
        rows.append({**about, **_beside_torch(timings, NETWORKS)})
    name = "mnist" if data.name == "mnist" else "random images of MNIST's shape"
    harness.write(options.results, "cpu_training", rows, **facts, data=name)
    contest, rows = Contest(backend, options.repeats), []
    for n, d in SHAPES:
        kernels = BatchnormWork((n, d), contest.cache)
        entries = batchnorm_entries(kernels, contest, ["torch"])
        launched = [entry for entry in entries if entry.launch == "python"]
        about = {"work": "batch_norm forward + backward", "rows": n, "units": d}
        rows.append({**about, **_beside_torch(contest.hold(kernels.columns, launched))})
    harness.write(options.results, "cpu_batchnorm", rows, **facts)


def _beside_torch(timings: Iterable[Timing], networks: int = 1) -> dict[str, object]:
    """The columns of both tables; seconds are of all networks."""
    ours, peer = timings
    for row in (ours, peer):
        if row.seconds is None:
            raise GpubnError(f"{row.work} by {row.who} gave no time ({row.note})")
    columns = {
        "ours_seconds": f"{networks * (ours.seconds or 0):.4g}",
        "peer": "torch eager",
        "peer_seconds": f"{networks * (peer.seconds or 0):.4g}",
        "ratio": f"{peer.ratio:.3g}",
        "ratio_min": f"{peer.ratio_min:.3g}",
        "ratio_max": f"{peer.ratio_max:.3g}",
        "rounds": ours.rounds,
    }
    log.info("%s %s: %s", ours.work, ours.shape, columns)
    return columns


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
