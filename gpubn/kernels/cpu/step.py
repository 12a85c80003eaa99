"""Launches both ends of a training step."""

from gpubn.backend import Array, CpuDevice
from gpubn.kernels.agnostic.step import Batch, Feed
from gpubn.kernels.cpu.launch import launch
from gpubn.kernels.cpu.layout import BEGIN_STEP, END_STEP


def begin_step(feed: Feed, batch: Batch, device: CpuDevice) -> None:
    """As the public function, of contiguous arrays."""
    replicas, n, d = batch.x.shape
    examples = feed.data.shape[0]
    launch(
        *(device, BEGIN_STEP, feed.data.dtype, replicas),
        [
            *((feed.data, 0), (feed.labels, 0), (feed.order, 0), (feed.rates, 0)),
            *((feed.cursor, 0), (batch.x, n * d), (batch.labels, n), (batch.rates, 0)),
        ],
        n=n,
        d=d,
        h=replicas,
        kind=examples,
        option=batch.rates.size,
    )


def end_step(losses: Array, loss: Array, cursor: Array, device: CpuDevice) -> None:
    """As the public function, of contiguous arrays."""
    arrays = [(losses, 0), (loss, 1), (cursor, 0)]
    launch(device, END_STEP, losses.dtype, loss.size, arrays, d=loss.size, cursor=cursor)
