"""Time kernels and training beside PyTorch on the CPU, interleaved in one run.

Writes `results/benchmarks/cpu_training.csv` and `cpu_batchnorm.csv`, each with a JSON file that
says where they were made. A benchmark, not a test: nothing fails when it is slow.
"""

import argparse
import logging
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gpubn import backend, batch_norm, batch_norm_backward
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset, load
from gpubn.errors import DataUnavailableError, GpubnError
from gpubn.experiments.training.trainer import GROUP
from gpubn.files import git_revision
from gpubn.nn.model import build_mlp
from gpubn.nn.optim import SGD, linear_decay
from gpubn.nn.train import to_device, train
from gpubn.report.benchmarks import interleave, write_benchmark
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")

NETWORKS, BATCH, RATE, MIN_RATE = 10, 32, 0.1, 0.01
SHAPES = ((32, 128), (256, 512), (1024, 1024), (4096, 1024), (16384, 1024))


def main() -> None:
    """Run both benchmarks and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--steps", type=int, default=1500, help="training steps of a network")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of training, ours and theirs")
    parser.add_argument("--repeats", type=int, default=50, help="repeats of a kernel")
    options = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        raise GpubnError(
            "PyTorch, the peer, is not installed; expected .venv/bin/python -m pip install "
            "torch==2.13.0"
        ) from error
    torch.set_num_threads(backend.cores())
    facts = {
        **backend.resolve("numpy").facts(),
        "torch": torch.__version__,
        "threads": backend.cores(),
        "revision": git_revision(),
    }
    folder = options.results / "benchmarks"
    data, name = _data()
    training = _time_training(data, options.steps, options.rounds)
    write_benchmark(folder / "cpu_training.csv", training, {**facts, "data": name})
    write_benchmark(folder / "cpu_batchnorm.csv", _time_batchnorm(options.repeats), facts)


def _time_training(data: Dataset, steps: int, rounds: int) -> list[dict[str, object]]:
    rows = []
    for norm in ("none", "before"):
        for warm_up in (_train_ours, _train_torch):
            warm_up(data, norm, min(steps, 50))
        times = interleave(
            rounds,
            partial(_train_ours, data, norm, steps),
            partial(_train_torch, data, norm, steps),
        )
        rows.append(
            {
                "work": f"train {NETWORKS} networks 784-128-10",
                "batchnorm": norm,
                "steps": steps,
                "batch": BATCH,
                **_ratio(*times),
            }
        )
        log.info("%s", rows[-1])
    return rows


def _train_ours(data: Dataset, norm: str, steps: int) -> None:
    where = backend.resolve("numpy")
    moved = to_device(data, where, "float32")

    def work(seeds: Sequence[int], tick: Callable[[int], None]) -> np.ndarray:
        model = build_mlp(
            ModelConfig(),
            NormConfig(name=norm, placement=norm),
            InitConfig(),
            features=data.features,
            classes=data.classes,
            seeds=seeds,
            backend=where,
            dtype="float32",
        )
        sgd = SGD(RATE, linear_decay(steps), MIN_RATE, where, "float32")
        return train(model, sgd, moved, where, seeds=seeds, batch=BATCH, steps=steps)

    where.map_groups(work, range(NETWORKS), group=GROUP)


def _train_torch(data: Dataset, norm: str, steps: int) -> None:
    """Eager PyTorch, one network after another, as its users write it."""
    import torch
    from torch import nn

    x, y = torch.from_numpy(data.x_train.copy()), torch.from_numpy(data.y_train.copy())
    for seed in range(NETWORKS):
        torch.manual_seed(seed)
        hidden = [nn.BatchNorm1d(128)] if norm == "before" else []
        model = nn.Sequential(
            nn.Linear(data.features, 128), *hidden, nn.Tanh(), nn.Linear(128, data.classes)
        )
        sgd = torch.optim.SGD(model.parameters(), lr=RATE)
        order = torch.randperm(len(x))
        for step in range(steps):
            at = (step * BATCH) % (len(x) - BATCH)
            rows = order[at : at + BATCH]
            sgd.param_groups[0]["lr"] = max(RATE * (1 - step / steps), MIN_RATE)
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()


def _time_batchnorm(repeats: int) -> list[dict[str, object]]:
    import torch

    rows = []
    for n, d in SHAPES:
        g = np.random.default_rng(0)
        x, dy = (g.standard_normal((n, d), dtype=np.float32) for _ in range(2))
        gamma, beta = np.ones(d, np.float32), np.zeros(d, np.float32)
        layer = torch.nn.BatchNorm1d(d)
        tx, tdy = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)

        def ours(x=x, dy=dy, gamma=gamma, beta=beta) -> None:  # type: ignore[no-untyped-def]
            _, cache = batch_norm(x, gamma, beta)
            batch_norm_backward(dy, cache)

        def peer(layer=layer, tx=tx, tdy=tdy) -> None:  # type: ignore[no-untyped-def]
            tx.grad = layer.weight.grad = layer.bias.grad = None
            layer(tx).backward(tdy)

        for _ in range(3):
            ours()
            peer()
        times = interleave(repeats, ours, peer)
        work = "batch_norm forward + backward"
        rows.append({"work": work, "rows": n, "units": d, **_ratio(*times)})
        log.info("%s", rows[-1])
    return rows


def _ratio(ours: list[float], peer: list[float]) -> dict[str, object]:
    ratios = sorted(p / o for o, p in zip(ours, peer, strict=True))
    return {
        "ours_seconds": f"{statistics.median(ours):.4g}",
        "peer": "torch eager",
        "peer_seconds": f"{statistics.median(peer):.4g}",
        "ratio": f"{statistics.median(ratios):.3g}",
        "ratio_min": f"{ratios[0]:.3g}",
        "ratio_max": f"{ratios[-1]:.3g}",
        "rounds": len(ours),
    }


def _data() -> tuple[Dataset, str]:
    try:
        return load("mnist"), "mnist"
    except DataUnavailableError:
        log.info("MNIST cannot be had: timing on random images of its shape")
    g = np.random.default_rng(0)
    x = g.random((60000, 784), dtype=np.float32)
    y = g.integers(0, 10, 60000)
    return Dataset("random", x, y, x[:10], y[:10], 10), "random images of MNIST's shape"


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
