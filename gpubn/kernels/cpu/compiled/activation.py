"""Activations of a row, or of a flat array, and their gradients."""

from gpubn.kernels.cpu.compiled.elementary import sigmoid, tanh
from gpubn.kernels.cpu.compiled.lowlevel import jit
from gpubn.kernels.cpu.layout import RELU, SIGMOID, TANH


@jit
def activate(x, y, kind):
    """y = the activation of x, another array."""
    zero = x.dtype.type(0)
    if kind == RELU:
        for j in range(len(y)):
            y[j] = zero if x[j] <= zero else x[j]
    elif kind == TANH:
        for j in range(len(y)):
            y[j] = tanh(x[j])
    elif kind == SIGMOID:
        for j in range(len(y)):
            y[j] = sigmoid(x[j])
    else:
        for j in range(len(y)):
            y[j] = x[j]


@jit(forceinline=True)
def through(dy, y, dx, kind):
    """dx = dy times the slope of the activation whose output is y."""
    zero, one = dy.dtype.type(0), dy.dtype.type(1)
    if kind == RELU:
        for j in range(len(y)):
            dx[j] = zero if y[j] <= zero else dy[j]
    elif kind == TANH:
        for j in range(len(y)):
            dx[j] = dy[j] * (one - y[j] * y[j])
    elif kind == SIGMOID:
        for j in range(len(y)):
            dx[j] = dy[j] * ((one - y[j]) * y[j])
    else:
        for j in range(len(y)):
            dx[j] = dy[j]
