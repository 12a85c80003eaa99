"""Pure functions on arrays: each a forward and its hand-written backward."""

from gpubn.kernels.activation import (
    activation,
    linear,
    linear_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from gpubn.kernels.affine import affine, affine_backward, affine_descend
from gpubn.kernels.batch_norm import (
    RunningStatistics,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    fold_batch_norm,
)
from gpubn.kernels.dropout import MaskDraws, dropout, dropout_backward, dropout_drawn
from gpubn.kernels.sgd import descend, descend_averaged
from gpubn.kernels.softmax_cross_entropy import (
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from gpubn.kernels.step import Batch, Feed, begin_step, end_step

__all__ = [
    "Batch",
    "Feed",
    "MaskDraws",
    "RunningStatistics",
    "activation",
    "affine",
    "affine_backward",
    "affine_descend",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_backward_graph",
    "batch_norm_inference",
    "begin_step",
    "descend",
    "descend_averaged",
    "dropout",
    "dropout_backward",
    "dropout_drawn",
    "end_step",
    "fold_batch_norm",
    "linear",
    "linear_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
]
