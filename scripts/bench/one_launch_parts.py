"""Time a training in one launch with parts of its kernel left out, on one card.

Writes `gpu_one_launch_parts.csv` into `benchmarks/` of the results folder: the least milliseconds
of a launch by the device's clock. Leaving a part out makes the result wrong, and shows its time.
"""

import sys

import harness
from race.training import RATE, TrainingWork, mnist_or_random

from gpubn.backend import Backend, resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.errors import GpubnError
from gpubn.files import git_revision
from gpubn.kernels.cuda import source
from gpubn.nn.model import build_mlp
from gpubn.nn.optim import SGD, constant_rate
from gpubn.nn.train import _Step, to_device
from gpubn.report.benchmarks import write_benchmark

_PRODUCT = ("q < quads; q += At::SLOTS", "q < slot; q += At::SLOTS")
_STEP = ("q < quads; q += UPDATERS", "q < 0; q += UPDATERS")
_CLUSTER = ("cluster_sync();\n    for (int c", "__syncthreads();\n    for (int c")
PARTS = {
    "nothing": (),
    "the step of the first weights": (_STEP,),
    "their product": (_PRODUCT,),
    "the copies of the batch": (("if (more) copy_to_shared", "if (false) copy_to_shared"),),
    "waiting for the cluster": (_CLUSTER,),
    "step, product and waiting": (_STEP, _PRODUCT, _CLUSTER),
}
"""A part that is left out -> texts of the kernel's source, and what replaces each."""


def milliseconds(backend: Backend, work: TrainingWork, launches: int = 3) -> float:
    """Return the least time of a launch that trains one network."""
    cuda, data = backend.xp.cuda, to_device(work.data, backend, "float32")
    model = build_mlp(
        ModelConfig(depth=1, width=work.width, activation=work.activation),
        NormConfig(name=work.norm, placement=work.norm),
        InitConfig(),
        features=work.data.features,
        classes=work.data.classes,
        seeds=[0],
        backend=backend,
        dtype="float32",
    )
    sgd = SGD(RATE, constant_rate, 0.0, backend, "float32")
    times = []
    for _ in range(launches):
        step = _Step(model, sgd, data, backend, [0], work.batch, work.steps, 0, None)
        start, end = cuda.Event(), cuda.Event()
        launch = step.in_one_launch()
        start.record()
        launch(work.steps, None)
        end.record()
        end.synchronize()
        times.append(cuda.get_elapsed_time(start, end))
    return float(min(times))


def main() -> None:
    """Measure and write."""
    options = harness.parser(__doc__).parse_args()
    backend, work, sound = resolve("cupy"), TrainingWork(mnist_or_random()), source.source_text
    rows = []
    for part, edits in PARTS.items():

        def text(stem: str, edits: tuple[tuple[str, str], ...] = edits) -> str:
            whole = sound(stem)
            for before, after in edits:
                whole = whole.replace(before, after)
            return whole

        source.source_text = text  # type: ignore[assignment]
        source.kernel.cache_clear()
        ms = milliseconds(backend, work)
        rows.append({"without": part, "ms": f"{ms:.2f}", "step_us": f"{1e3 * ms / work.steps:.2f}"})
    facts = {**backend.facts(), "revision": git_revision()}
    write_benchmark(options.results / "benchmarks" / "gpu_one_launch_parts.csv", rows, facts)


if __name__ == "__main__":
    try:
        main()
    except GpubnError as error:
        sys.exit(f"error: {error}")
