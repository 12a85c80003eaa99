"""Time kernels and training beside PyTorch on the CPU, interleaved in one run.

Writes `results/benchmarks/cpu_training.csv` and `cpu_batchnorm.csv`, each with a JSON file that
says where they were made. Of many networks PyTorch trains one after another, so one is timed. A
benchmark, not a test: nothing fails when it is slow.
"""

import logging
from collections.abc import Iterable

import harness
from race.batchnorm import BatchnormWork
from race.contest import Contest, hold
from race.contestants import batchnorm_entries, training_entries
from race.site import Site
from race.timings import Timing
from race.training import Sizes, TrainingWork, images_for

from gpubn.backend import cores, resolve
from gpubn.data import Dataset
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
    sizes = Sizes(steps=options.steps, networks=NETWORKS)
    data = images_for(sizes)
    name = "mnist" if data.name == "mnist" else "random images of MNIST's shape"
    training = _training(data, sizes, options.rounds)
    harness.write(options.results, "cpu_training", training, **facts, data=name)
    harness.write(options.results, "cpu_batchnorm", _batchnorm(options.repeats), **facts)


def _training(data: Dataset, sizes: Sizes, rounds: int) -> list[dict[str, object]]:
    contest, rows = Contest(Site.of(resolve("numpy")), rounds), []
    for norm in ("none", "before"):
        work = TrainingWork(sizes, data, norm)
        layers = f"{data.features}-{sizes.width}-{data.classes}"
        about = {
            "work": f"train {NETWORKS} networks {layers}",
            "batchnorm": norm,
            "steps": sizes.steps,
            "batch": sizes.batch,
        }
        entries = training_entries(work, contest.site, ["torch"])
        rows.append({**about, **_beside_torch(hold(work, entries, contest), NETWORKS)})
        log.info("%s", rows[-1])
    return rows


def _batchnorm(rounds: int) -> list[dict[str, object]]:
    contest, rows = Contest(Site.of(resolve("numpy")), rounds), []
    for n, d in SHAPES:
        work = BatchnormWork.draw((n, d), contest.site.cache)
        entries = list(batchnorm_entries(work, contest.site, ["torch"]))
        launched = [entry for entry in entries if entry.launch == "python"]
        about = {"work": "batch_norm forward + backward", "rows": n, "units": d}
        rows.append({**about, **_beside_torch(hold(work, launched, contest))})
        log.info("%s", rows[-1])
    return rows


def _beside_torch(rows: Iterable[Timing], networks: int = 1) -> dict[str, object]:
    """The columns of both tables; seconds are of all networks."""
    ours, peer = rows
    for row in (ours, peer):
        if row.seconds is None:
            raise GpubnError(f"{row.work} by {row.who} gave no time ({row.note})")
    return {
        "ours_seconds": f"{networks * (ours.seconds or 0):.4g}",
        "peer": "torch eager",
        "peer_seconds": f"{networks * (peer.seconds or 0):.4g}",
        "ratio": f"{peer.ratio:.3g}",
        "ratio_min": f"{peer.ratio_min:.3g}",
        "ratio_max": f"{peer.ratio_max:.3g}",
        "rounds": ours.rounds,
    }


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
