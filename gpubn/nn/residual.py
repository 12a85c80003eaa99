"""The end of a connection around some layers."""

from typing import Any, Self

from gpubn.backend import Array
from gpubn.nn.layers import Gradients, StepByGradients


class Residual(StepByGradients):
    """skip + alpha x, where x is what the last `span` layers made of skip.

    alpha, one a replica, starts at 0, where the layers that are gone around do nothing (Bachlechner
    et al. 2020). Its backward pass gives the gradient of x; that of skip is dy as it is. The cache
    is x.

    Args:
        alpha: (R, 1).

    >>> join, x = Residual(np.array([[0.5]]), span=1), np.array([[[4.0]]])
    >>> join.forward(x, training=True, track=True, skip=np.array([[[1.0]]]))[0].tolist()
    [[[3.0]]]
    """

    in_expressions = True

    def __init__(self, alpha: Array, span: int) -> None:
        self.params = {"alpha": alpha}
        self.span = span

    def forward(
        self, x: Array, *, training: bool, track: bool, skip: Array = 0.0
    ) -> tuple[Array, Any]:
        return skip + self.params["alpha"][:, None] * x, x

    def backward(self, dy: Array, cache: Any, *, need_dx: bool) -> tuple[Array | None, Gradients]:
        replicas = len(dy)
        dalpha = (dy * cache).reshape(replicas, -1).sum(axis=-1, keepdims=True)
        return self.params["alpha"][:, None] * dy, {"alpha": dalpha}

    def select(self, replicas: slice) -> Self:
        return type(self)(self.params["alpha"][replicas], self.span)
