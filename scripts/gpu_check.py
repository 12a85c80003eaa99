"""Check the GPU path on this machine, in a stated time: a bug report about a card is its output.

Needs a Python with CuPy and NumPy, no network and no environment of its own. The steps run in this
order, each in processes of its own and within its share of the time; what they find is written as
it comes, and `gpu_check.md` says on one page what is right and what is not:

    card        the card, its driver, the packages
    compile     every kernel, in parallel
    oracle      the kernels against float64, in every form and dtype
    faults      faults planted in the kernels, each of which `oracle` must find
    races       `oracle` under compute-sanitizer, if that is there
    tests       the tests that are marked gpu, if pytest is there
    benchmark   beside PyTorch and JAX, as far as they are there: benchmarks/gpu_*.csv
    grid        the default grid on the card, compared with the committed tables, too
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # it is not installed where there is no environment

from gpubn import batch_norm, batch_norm_backward  # noqa: E402
from gpubn.backend import Backend, device_of, resolve  # noqa: E402
from gpubn.errors import GpubnError  # noqa: E402
from gpubn.files import write_atomic  # noqa: E402
from gpubn.kernels import RunningStatistics  # noqa: E402
from gpubn.kernels.cuda import batch_norm_launch, catalog, source  # noqa: E402

SHAPES = ((5, 1), (32, 128), (3, 33, 7), (700, 12), (4096, 64), (40_000, 32), (5, 9000, 16))
"""A slab, a cluster and the tiled form, odd widths and replicas."""
SMALL = ((33, 12), (2048, 64), (40_000, 8))
FAULTS = {
    "a sum over warps without the last one": (
        "for (int w = 1; w < WARPS; ++w)",
        "for (int w = 1; w < WARPS - 1; ++w)",
    ),
    "the variance divides by n": ("/ S(p.dof)", "/ S(p.n)"),
    "the last row of a task is left out": ("min(n, begin + p.rows)", "min(n - 1, begin + p.rows)"),
    "a cluster adds the sums of one block": ("in_block(own, rank)", "in_block(own, 0)"),
}
"""What is replaced in a kernel's source, and by what."""
_NAMES = ("cupy", "jax", "numpy", "nvmath", "torch", "triton")


@dataclass(frozen=True)
class Step:
    """A part of the check.

    Attributes:
        seconds: it takes at most.
        command: what runs it.
        missing: why it cannot run here, or empty.
    """

    name: str
    seconds: float
    command: Sequence[str]
    missing: str = ""


def main() -> None:
    """Run the steps that are asked for; exit 1 where one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="in all (10)")
    parser.add_argument("--results", type=Path, default=Path("gpu_check"), help="a folder")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="only these steps")
    parser.add_argument("--revision", default="unknown", help="what is checked, without git")
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        INSIDE[options.inside]()
        return
    steps = plan(options.results, options.revision, 60 * options.minutes)
    if unknown := sorted(set(options.only or ()) - {step.name for step in steps}):
        allowed = ", ".join(step.name for step in steps)
        sys.exit(f"error: --only is {', '.join(unknown)}; expected some of {allowed}")
    chosen = [step for step in steps if step.name in (options.only or step.name)]
    sys.exit(not check(chosen, options.results, 60 * options.minutes))


def plan(folder: Path, revision: str, seconds: float) -> list[Step]:
    """Return all steps, the ones that say most first, for so many seconds in all."""

    def inside(name: str) -> list[str]:
        return [sys.executable, str(Path(__file__)), "--inside", name]

    def without(*packages: str) -> str:
        missing = [p for p in packages if importlib.util.find_spec(p) is None]
        return f"{', '.join(missing)} not installed" if missing else ""

    sanitizer = shutil.which("compute-sanitizer")
    tests = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--tb=short"]
    tests += ["-p", "no:cacheprovider"]
    tests += ["-p", "no:benchmark"]  # it warns of processes beside it, and a warning is an error
    if not without("xdist"):
        tests += ["-n", str(min(12, os.cpu_count() or 1))]
    scripts, results = ROOT / "scripts", str(folder.resolve())
    works = ["--only", "training", "batchnorm", "networks", "--without", "compile"]
    options = ["--results", results, "--revision", revision, "--rounds", "9"]
    race_seconds = min(240.0, 0.6 * seconds)
    options += ["--budget", f"{0.85 * race_seconds:.0f}"]  # what is begun is finished
    race = [sys.executable, str(scripts / "bench" / "gpu.py"), *works, *options]
    report = ["--report", f"{results}/benchmarks/gpu_parity.csv", "--revision", revision]
    report += ["--results", str(ROOT / "results")]
    grid = [sys.executable, str(scripts / "verify.py"), "--backend", "cupy", *report]
    races = [sanitizer or "", "--tool", "racecheck", "--error-exitcode", "9", *inside("small")]
    return [
        Step("card", 60, inside("card")),
        Step("compile", 120, inside("compile")),
        Step("oracle", 60, inside("oracle")),
        Step("faults", 90, inside("faults")),
        Step("races", 90, races, "" if sanitizer else "compute-sanitizer not found"),
        Step("tests", 240, [*tests, str(ROOT / "tests")], without("pytest", "hypothesis")),
        Step("benchmark", race_seconds, race, without("scipy", "pandas", "matplotlib")),
        Step("grid", 600, grid, without("hydra", "pandas", "sklearn")),
    ]


def check(steps: Sequence[Step], folder: Path, seconds: float) -> bool:
    """Run steps one after another, keeping a page of what they came to; return if all are right."""
    until = time.monotonic() + seconds
    lines = ["| step | | seconds | |", "|---|---|---|---|"]
    right, no_card = True, False
    for step in steps:
        left = min(step.seconds, until - time.monotonic())
        why = (
            step.missing or (no_card and "there is no card") or ("the time is spent" * (left <= 0))
        )
        if why:
            state, took, said = "not run", 0.0, why
        else:
            state, took, said = run(step, folder, left)
        right = right and state != "WRONG"
        no_card = no_card or (step.name, state) == ("card", "WRONG")
        lines.append(f"| {step.name} | {state} | {took:.0f} | {said.replace('|', '/')} |")
        print(f"{step.name:10} {state:8} {took:4.0f} s  {said}", flush=True)
        write_atomic(folder / "gpu_check.md", ("\n".join(lines) + "\n").encode())
    return right


def run(step: Step, folder: Path, limit: float) -> tuple[str, float, str]:
    """Run one step into `<name>.log`; return what it came to, its seconds, and its last line."""
    folder.mkdir(parents=True, exist_ok=True)
    path, started = folder / f"{step.name}.log", time.monotonic()
    search = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, search)),
        "PYTHONUNBUFFERED": "1",
        "GPUBN_REQUIRE_GPU": "1",
    }
    with path.open("wb") as log:
        process = subprocess.Popen(
            step.command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = path.read_text(errors="replace").strip().splitlines() or [""]
    took = time.monotonic() - started
    if code is None:
        return "WRONG", took, f"stopped after {limit:.0f} s: {text[-1][:120]}"
    return ("WRONG" if code else "right"), took, text[-1][:160]


def _card() -> None:
    """Print what the machine is, as JSON."""
    backend = resolve("cupy")
    facts: dict[str, Any] = {**backend.facts(), "machine": platform.platform()}
    facts["python"], facts["cores"] = platform.python_version(), os.cpu_count()
    facts["versions"] = {
        d.name: d.version for d in metadata.distributions() if d.name.startswith(_NAMES)
    }
    query = "name,driver_version,clocks.sm,clocks.mem,power.limit,temperature.gpu,memory.total"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv"]
    print(json.dumps(facts, indent=1))
    subprocess.run(command, check=False)
    print(f"{backend.device}, {facts['kernels']}")


def _compile() -> None:
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        done = sum(pool.map(partial(_compile_part, parts=workers), range(workers)))
    print(f"{done} kernels")


def _compile_part(part: int, parts: int) -> int:
    device: Any = device_of(resolve("cupy").xp)
    kernels = [k for stem in catalog.stems() for k in catalog.instantiations(stem, device.arch)]
    for kernel in kernels[part::parts]:
        device.load(kernel)
    return len(kernels[part::parts])


def _oracle(shapes: Sequence[tuple[int, ...]] = SHAPES) -> None:
    errors = dict(compare(resolve("cupy"), shapes))
    wrong = {case: error for case, error in errors.items() if not error <= 1}
    for case, error in errors.items():
        print(f"{case}: {error:.3f} of what is allowed{' WRONG' if case in wrong else ''}")
    if wrong:
        sys.exit(f"{len(wrong)} of {len(errors)} results are wrong: {', '.join(wrong)}"[:150])
    print(f"{len(errors)} results, at worst {max(errors.values()):.2f} of what is allowed")


def _small() -> None:
    _oracle(SMALL)


def _faults() -> None:
    backend, missed = resolve("cupy"), []
    if _is_found(backend, "", ""):
        sys.exit("the oracle finds a fault where none is planted")
    for fault, (before, after) in FAULTS.items():
        if not _is_found(backend, before, after):
            missed.append(fault)
    if missed:
        sys.exit(f"not found: {'; '.join(missed)}")
    print(f"{len(FAULTS)} faults, each of them found")


def _is_found(backend: Backend, before: str, after: str) -> bool:
    """Return whether the oracle finds a fault; each kernel is compiled anew."""
    sound = source.source_text

    def faulty(stem: str) -> str:
        return sound(stem).replace(before, after)

    def plant(text: Callable[..., str]) -> None:
        source.source_text = text  # type: ignore[assignment]
        source.kernel.cache_clear()
        batch_norm_launch.prepare.cache_clear()

    plant(faulty)
    try:
        return any(not error <= 1 for _, error in compare(backend, SHAPES))
    finally:
        plant(sound)


INSIDE: dict[str, Callable[[], None]] = {
    **{"card": _card, "compile": _compile, "oracle": _oracle, "small": _small, "faults": _faults}
}


def compare(backend: Backend, shapes: Sequence[tuple[int, ...]]) -> Iterator[tuple[str, float]]:
    """Yield results of batch norm by name, and their error as a share of what is allowed.

    The oracle are the array expressions in float64. Allowed is 1e-5 of the largest number, 1e-12 in
    float64, and one step of the dtype in which a result is stored.
    """
    host, g = resolve("numpy"), np.random.default_rng(0)
    for shape in shapes:
        unit = (*shape[:-2], shape[-1])
        x, dy = g.standard_normal((2, *shape))
        x = 3 * x + 5
        gamma, beta = g.standard_normal((2, *unit))
        for stored, correction in (("float32", 0), ("float32", 1), ("float64", 0), ("float16", 0)):
            wide = "float64" if stored == "float64" else "float32"
            arrays = [a.astype(stored).astype("float64") for a in (x, dy)]
            arrays += [a.astype(wide).astype("float64") for a in (gamma, beta)]
            right, found = (
                _run(on, arrays, *dtypes, correction)
                for on, dtypes in ((host, ("float64",) * 2), (backend, (stored, wide)))
            )
            for name, value in right.items():
                dtype = stored if name in ("y", "dx") else wide
                step = float(np.finfo(dtype).eps) if dtype == "float16" else 0.0
                allowed = max(1e-12 if wide == "float64" else 1e-5, step) * abs(value).max()
                with np.errstate(invalid="ignore"):
                    error = float(abs(found[name].astype("float64") - value).max() / allowed)
                case = "x".join(map(str, shape))
                yield f"{name} {case} {stored}{' Bessel' * correction}", error


def _run(
    backend: Backend, arrays: Sequence[np.ndarray], stored: str, wide: str, correction: int
) -> dict[str, np.ndarray]:
    x, dy = (backend.asarray(a, stored) for a in arrays[:2])
    gamma, beta = (backend.asarray(a, wide) for a in arrays[2:])
    mean, spread = backend.xp.zeros_like(gamma), backend.xp.ones_like(gamma)
    running = RunningStatistics(mean, spread, 0.1)
    y, cache = batch_norm(x, gamma, beta, correction=correction, activation="tanh", running=running)
    names = ("y", "dx", "dgamma", "dbeta", "running mean", "running variance")
    results = (y, *batch_norm_backward(dy, cache), mean, spread)
    return {name: backend.to_host(a) for name, a in zip(names, results, strict=True)}


if __name__ == "__main__":
    try:
        main()
    except GpubnError as error:
        sys.exit(f"error: {error}")
