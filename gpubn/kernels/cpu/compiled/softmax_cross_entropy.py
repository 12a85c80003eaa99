"""Softmax cross-entropy of one replica: the loss and its gradient at once."""

import math

import numpy as np

from gpubn.kernels.cpu.compiled.elementary import exp_of_negative
from gpubn.kernels.cpu.compiled.lowlevel import jit


@jit
def loss_and_gradient(logits, labels, dlogits):
    """The mean of -log softmax(logits)[label] over the rows; writes its gradient."""
    n, classes = logits.shape
    kinds = logits.dtype.type
    zero, one = kinds(0), kinds(1)
    loss = np.float64(0)
    for i in range(n):
        z, e, label = logits[i], dlogits[i], labels[i]
        most = z[0]
        for j in range(1, classes):
            most = most if most >= z[j] else z[j]  # a NaN stays where it is last or alone
        total = zero
        for j in range(classes):
            e[j] = exp_of_negative(z[j] - most)
        for j in range(classes):
            total += e[j]
        loss += np.float64(math.log(total) - (z[label] - most))
        for j in range(classes):
            e[j] = e[j] / total
        e[label] -= one
        for j in range(classes):
            e[j] /= kinds(n)
    return kinds(loss / n)
