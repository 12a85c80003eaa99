"""Write the sizing page, `results/benchmarks/sizing.md`, from the benchmarks of sweeps.

What was measured on this machine is read from their tables; a GPU's part is an estimate from the
costs that stand below, and is called so.
"""

import json
import math
from pathlib import Path

import harness
import pandas as pd

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
    folder = harness.parser(__doc__).parse_args().results / "benchmarks"
    write_atomic(folder / "sizing.md", page(folder).encode())


def page(folder: Path) -> str:
    """Return the text of the page."""
    timed, scaling = (
        pd.read_csv(folder / f"sweep_{name}.csv") for name in ("launchers", "scaling")
    )
    launchers = timed.set_index(["steps", "launcher"])["ms_per_cell"]
    nothing, few, many = sorted(timed["steps"].unique())
    facts = json.loads((folder / "sweep_launchers.json").read_text())
    large = scaling.iloc[-1]
    hydra, store = launchers[nothing, "vectorized"], large["run_ms"]
    short, full = launchers[few, "vectorized"], 10 * launchers[many, "vectorized"]
    cores = int(facts["device"].split()[-2])
    train = cores * (short - hydra - store) / few
    launch = 1e3 * sum(number * seconds for number, seconds in LAUNCHES.values())
    memory = 1e3 * DEVICE_REPLICAS * PARAMETERS * 4 * PASSES / COPY_RATE
    step = (launch + memory) / DEVICE_REPLICAS
    numbers: dict[str, object] = {}
    for kind, measured, seeds, steps in (("short", short, 1, few), ("full", full, 10, many)):
        work = seeds * steps
        h200 = hydra + store + facts["host_draws_ms_per_replica"] * seeds + step * work
        laptop = hydra + store + train * work / 8
        numbers |= {
            f"here_{kind}": _per_hour(measured),
            f"laptop_{kind}": _per_hour(laptop),
            f"h200_{kind}": _per_hour(h200),
            f"cluster_{kind}": _per_hour(h200 / 64),
        }
    return TEMPLATE.read_text().format(
        **facts,
        **numbers,
        large=large,
        few=few,
        many=many,
        cores=cores,
        hydra=hydra,
        basic=launchers[nothing, "basic"],
        train=train,
        linear=", ".join(
            f"{ms:.2g} ms for {int(cells):,}"
            for cells, ms in scaling[["cells", "plan_run_collect_ms"]].to_numpy()
        ),
        launches=", ".join(f"{n} {kind} at {1e6 * t:.0f} us" for kind, (n, t) in LAUNCHES.items()),
        launch_ms=launch,
        replicas=DEVICE_REPLICAS,
        parameters=PARAMETERS,
        passes=PASSES,
        memory_ms=memory,
        copy_rate=COPY_RATE / 1e12,
        step_us=1e3 * step,
        check=100_000 * facts["compose_ms_per_job"] / 1e3,
        write=100_000 * large["collect_ms"] / 1e3,
    )


def _per_hour(milliseconds: float) -> str:
    """Cells an hour to two digits."""
    number = 3.6e6 / milliseconds
    digits = 10 ** (math.floor(math.log10(number)) - 1)
    return f"{round(number / digits) * digits:,.0f}"


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
