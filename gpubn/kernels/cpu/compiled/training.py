"""Both ends of a training step of one replica, and descent."""

from gpubn.kernels.cpu.compiled.lowlevel import jit


@jit
def fetch(data, labels, order, x, chosen):
    """Write the rows `order` of the data and their labels."""
    d = data.shape[1]
    for i in range(len(order)):
        row, out = data[order[i]], x[i]
        for j in range(d):
            out[j] = row[j]
        chosen[i] = labels[order[i]]


@jit
def descend(parameter, gradient, rate):
    """parameter -= rate gradient, of flat arrays."""
    for j in range(len(parameter)):
        parameter[j] -= rate * gradient[j]


@jit
def descend_averaged(parameter, gradient, average, rate, momentum, rest):
    """average = momentum average + rest gradient; parameter -= rate average, of flat arrays."""
    for j in range(len(parameter)):
        average[j] = momentum * average[j] + rest * gradient[j]
        parameter[j] -= rate * average[j]


@jit
def drop(x, mask, y, factor):
    """y = x factor where the mask is true, else 0, of flat arrays."""
    zero = x.dtype.type(0)
    for j in range(len(x)):
        y[j] = x[j] * factor if mask[j] else zero
