"""Pure functions on arrays: each a forward and its hand-written backward.

Arrays are NumPy's or CuPy's, or another package's with DLPack or the CUDA array interface; what
comes back has the namespace, dtype and device of what came in. R counts replicas (independent
networks), N examples, D units, H the units of the next layer, C classes. What a kernel does not
take it refuses before any work, by an `ArgumentError` of one sentence:

>>> batch_norm(np.ones((2, 3)), eps=-1.0)
Traceback (most recent call last):
gpubn.errors.ArgumentError: eps is -1.0; expected a finite number of at least 0
"""

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
    batch_norm_descend,
    batch_norm_inference,
    fold_batch_norm,
)
from gpubn.kernels.classifier import classifier_descend
from gpubn.kernels.dropout import MaskDraws, dropout, dropout_backward, dropout_drawn
from gpubn.kernels.sgd import descend, descend_averaged
from gpubn.kernels.softmax_cross_entropy import (
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from gpubn.kernels.step import Batch, Feed, begin_step, end_step, next_step

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
    "batch_norm_descend",
    "batch_norm_inference",
    "begin_step",
    "classifier_descend",
    "descend",
    "descend_averaged",
    "dropout",
    "dropout_backward",
    "dropout_drawn",
    "end_step",
    "fold_batch_norm",
    "linear",
    "linear_backward",
    "next_step",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
]
