"""Write the sizing page, `results/benchmarks/sizing.md`, from the benchmarks of sweeps.

What was measured on this machine is read from their tables; a GPU's part is an estimate from the
costs that stand below, and is called so.
"""

import argparse
import csv
import json
import math
from pathlib import Path

from gpubn.files import write_atomic
from gpubn.sweeps import cli
from gpubn.sweeps.stacks import DEVICE_REPLICAS

TEMPLATE = Path(__file__).with_suffix(".template.md")
PARAMETERS = 784 * 128 + 128 + 2 * 128 + 128 * 10 + 10
"""Of the MNIST network 784-128-10 with batchnorm."""
PASSES = 7
"""Times that a step reads or writes all weights: forward, backward, gradient, scaling, update."""
COPY_RATE = 4.3e12
"""Bytes a second that an H200 copies on the device."""
LAUNCHES = {"elementwise": (65, 11e-6), "reductions": (10, 28e-6), "matrix products": (5, 21e-6)}
"""Kernels of one training step in array expressions, and the host's time to launch one."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    folder = parser.parse_args().results / "benchmarks"
    write_atomic(folder / "sizing.md", page(folder).encode())


def page(folder: Path) -> str:
    """The text of the page."""
    timed = _rows(folder / "sweep_launchers.csv")
    launchers = {(int(r["steps"]), r["launcher"]): float(r["ms_per_cell"]) for r in timed}
    nothing, few, many = sorted({steps for steps, _ in launchers})
    facts = json.loads((folder / "sweep_launchers.json").read_text())
    scaling = _rows(folder / "sweep_scaling.csv")
    large = {key: float(value) for key, value in scaling[-1].items()}
    hydra, store = launchers[nothing, "vectorized"], large["run_ms"]
    short = launchers[few, "vectorized"]
    cores = int(facts["device"].split()[-2])
    train = cores * (short - hydra - store) / few
    draws, compose = facts["host_draws_ms_per_replica"], facts["compose_ms_per_job"]
    step = 1e3 * (launch_time() + memory_time(DEVICE_REPLICAS)) / DEVICE_REPLICAS
    kinds = [(seeds, seeds * steps) for seeds, steps in ((1, few), (10, many))]
    laptop = [hydra + store + train * work / 8 for _, work in kinds]
    h200 = [hydra + store + draws * seeds + step * work for seeds, work in kinds]
    return TEMPLATE.read_text().format(
        **facts,
        few=few,
        many=many,
        cores=cores,
        compose=compose,
        hydra=hydra,
        basic=launchers[nothing, "basic"],
        cells=int(large["cells"]),
        plan=large["plan_ms"],
        store=store,
        resume=large["resume_ms"],
        collect=large["collect_ms"],
        draws=draws,
        train=train,
        total=large["plan_run_collect_ms"],
        peak=int(large["peak_mib"]),
        linear=_linear(scaling),
        here_short=_per_hour(short),
        here_full=_per_hour(10 * launchers[many, "vectorized"]),
        laptop_short=_per_hour(laptop[0]),
        laptop_full=_per_hour(laptop[1]),
        h200_short=_per_hour(h200[0]),
        h200_full=_per_hour(h200[1]),
        cluster_short=_per_hour(h200[0] / 64),
        cluster_full=_per_hour(h200[1] / 64),
        launches=", ".join(f"{n} {kind} at {1e6 * t:.0f} us" for kind, (n, t) in LAUNCHES.items()),
        launch_ms=1e3 * launch_time(),
        replicas=DEVICE_REPLICAS,
        parameters=PARAMETERS,
        passes=PASSES,
        memory_ms=1e3 * memory_time(DEVICE_REPLICAS),
        copy_rate=COPY_RATE / 1e12,
        step_us=1e3 * step,
        check=100_000 * compose / 1e3,
        write=100_000 * large["collect_ms"] / 1e3,
    )


def launch_time() -> float:
    """Seconds to launch the kernels of one step."""
    return sum(number * seconds for number, seconds in LAUNCHES.values())


def memory_time(replicas: int) -> float:
    """Seconds to move the weights of one step."""
    return replicas * PARAMETERS * 4 * PASSES / COPY_RATE


def _linear(scaling: list[dict[str, str]]) -> str:
    return ", ".join(
        f"{float(r['plan_run_collect_ms']):.2g} ms for {int(r['cells']):,}" for r in scaling
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _per_hour(milliseconds: float) -> str:
    """Cells an hour to two digits."""
    number = 3.6e6 / milliseconds
    digits = 10 ** (math.floor(math.log10(number)) - 1)
    return f"{round(number / digits) * digits:,.0f}"


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
