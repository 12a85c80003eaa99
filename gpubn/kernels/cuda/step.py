"""Launches both ends of a training step."""

from typing import Any

import numpy as np

from gpubn.backend import Array, CudaDevice
from gpubn.kernels.agnostic.step import Batch, Feed
from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS

_MOST_BLOCKS = 1024


def begin_step(feed: Feed, batch: Batch, device: CudaDevice) -> None:
    """As the public function."""
    _fetch("step_begin", feed, batch, device)


def next_step(feed: Feed, batch: Batch, losses: Array, loss: Array, device: CudaDevice) -> None:
    """As the public function."""
    more = losses, loss, np.int32(loss.size), np.int64(len(feed.order))
    _fetch("step_next", feed, batch, device, *more)


def _fetch(name: str, feed: Feed, batch: Batch, device: CudaDevice, *more: Any) -> None:
    features = feed.data.shape[-1]
    examples = batch.labels.size
    pack = source.pack_of(features, feed.data, batch.x)
    sizes = map(np.int32, (examples, features, batch.rates.size))
    kernel = source.kernel("step", name, feed.data.dtype.name, pack)
    arguments = [*feed, *batch, *sizes, *more]
    device.launch(kernel, min(examples, _MOST_BLOCKS), arguments, threads=THREADS)


def end_step(losses: Array, loss: Array, cursor: Array, device: CudaDevice) -> None:
    """As the public function."""
    arguments = [losses, loss, cursor, np.int32(loss.size)]
    kernel = source.kernel("step", "step_end", losses.dtype.name)
    device.launch(kernel, 1, arguments, threads=THREADS)
