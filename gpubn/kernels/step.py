"""Both ends of a training step: its batch is fetched, its loss is kept.

Everything that differs from step to step is looked up by a counter on the device, so that one
recorded step can be replayed without the host.
"""

from gpubn.backend import Array, device_of, namespace
from gpubn.kernels._checks import check_like, check_writable, public_kernel
from gpubn.kernels.agnostic import step as agnostic
from gpubn.kernels.agnostic.step import Batch, Feed
from gpubn.kernels.cpu import step as cpu
from gpubn.kernels.cuda import step as cuda

_FUSED = {"cpu": cpu, "cuda": cuda}


@public_kernel
def begin_step(feed: Feed, batch: Batch) -> None:
    """Write the examples, labels and rates of step `feed.cursor` into `batch`.

    The rows must be in range, and so must the step: neither is looked at on the device.

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> order, rates = np.array([[[0, 2]]]), np.array([[0.1]])
    >>> tables = np.array([[0.0], [1.0], [2.0]]), np.array([7, 8, 9]), order, rates
    >>> batch = Batch(np.empty((1, 2, 1)), np.empty((1, 2), np.int64), np.empty(1))
    >>> begin_step(Feed(*tables, np.zeros(1, np.int64)), batch)
    >>> batch.x.tolist(), batch.labels.tolist(), batch.rates.tolist()
    ([[[0.0], [2.0]]], [[7, 9]], [0.1])
    """
    xp = namespace(*feed, *batch)
    _check_feed(feed, batch)
    device = device_of(xp)
    if device is not None and all(a.flags.c_contiguous for a in (*feed, *batch)):
        _FUSED[device.kind].begin_step(feed, batch, device)
    else:
        agnostic.begin_step(feed, batch, xp)


def _check_feed(feed: Feed, batch: Batch) -> None:
    replicas, n = feed.order.shape[1:]
    check_like("batch.x", batch.x, (replicas, n, feed.data.shape[1]), feed.data.dtype)
    check_like("batch.labels", batch.labels, (replicas, n), feed.labels.dtype)
    check_like("batch.rates", batch.rates, feed.rates.shape[1:], feed.rates.dtype)
    for name in ("labels", "order", "cursor"):
        check_like(f"feed.{name}", getattr(feed, name), getattr(feed, name).shape, "int64")
    check_writable(**{f"batch.{name}": array for name, array in batch._asdict().items()})


@public_kernel
def next_step(feed: Feed, batch: Batch, losses: Array, loss: Array) -> None:
    """End a step as `end_step` does, and begin the one that follows, if there is one.

    On a GPU that is one launch, which may be recorded; elsewhere both, one by one.

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> feed = Feed(
    ...     np.array([[0.0], [1.0], [2.0]]), np.array([7, 8, 9]),
    ...     np.array([[[0, 2]], [[1, 1]]]), np.array([[0.1], [0.2]]), np.zeros(1, np.int64),
    ... )
    >>> batch = Batch(np.empty((1, 2, 1)), np.empty((1, 2), np.int64), np.empty(1))
    >>> losses = np.zeros((2, 1))
    >>> next_step(feed, batch, losses, np.array([0.5]))
    >>> losses.tolist(), batch.labels.tolist(), batch.rates.tolist(), feed.cursor.tolist()
    ([[0.5], [0.0]], [[8, 8]], [0.2], [1])
    """
    xp = namespace(*feed, *batch, losses, loss)
    _check_feed(feed, batch)
    check_like("losses", losses, (len(feed.order), feed.order.shape[1]), feed.data.dtype)
    check_writable(losses=losses, cursor=feed.cursor)
    check_like("loss", loss, losses.shape[1:], losses.dtype)
    device = device_of(xp)
    arrays = (*feed, *batch, losses, loss)
    fused = device is not None and all(a.flags.c_contiguous for a in arrays)
    if fused and device.kind == "cuda":
        cuda.next_step(feed, batch, losses, loss, device)
        return
    end_step(losses, loss, feed.cursor)
    if int(feed.cursor[0]) < len(feed.order):
        begin_step(feed, batch)


@public_kernel
def end_step(losses: Array, loss: Array, cursor: Array) -> None:
    """losses[cursor] = loss, and count the step.

    Args:
        losses: (steps, R).
        loss: (R,), of the same dtype.
        cursor: (1,), int64.

    Raises:
        ArgumentError: a shape or dtype does not fit.

    >>> losses, cursor = np.zeros((2, 1)), np.array([1])
    >>> end_step(losses, np.array([0.5]), cursor)
    >>> losses.tolist(), cursor.tolist()
    ([[0.0], [0.5]], [2])
    """
    xp = namespace(losses, loss, cursor)
    check_like("loss", loss, losses.shape[1:], losses.dtype)
    check_like("cursor", cursor, (1,), "int64")
    check_writable(losses=losses, cursor=cursor)
    device = device_of(xp)
    if device is not None and all(a.flags.c_contiguous for a in (losses, loss, cursor)):
        _FUSED[device.kind].end_step(losses, loss, cursor, device)
    else:
        agnostic.end_step(losses, loss, cursor, xp)
