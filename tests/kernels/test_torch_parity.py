"""The kernels against PyTorch on the CPU: values and gradients."""

import numpy as np
import pytest

from gpubn.backend import resolve
from tests.cuda.checkers import assert_same
from tests.kernels.table import KERNELS, draw

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it is tested")
F = torch.nn.functional
NUMPY = resolve("numpy")


def torch_batch_norm(x, gamma=None, beta=None):
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)


TWINS = {
    **{name: getattr(torch, name) for name in ("relu", "tanh", "sigmoid")},
    "affine": lambda x, weight, bias: F.linear(x, weight.T, bias),
    "batch norm": torch_batch_norm,
    "batch norm alone": torch_batch_norm,
    "softmax cross-entropy": F.cross_entropy,
}


def run_torch(function, inputs, dy):
    """Value and gradients of `function`, replica by replica."""
    results = []
    for r in range(len(dy)):
        tensors = [torch.tensor(a[r], requires_grad=a.dtype.kind == "f") for a in inputs]
        y = function(*tensors)
        y.backward(torch.tensor(dy[r]))
        gradients = [t.grad.numpy() for t in tensors if t.requires_grad]
        results.append([y.detach().numpy(), *gradients])
    return [np.stack(column) for column in zip(*results, strict=True)]


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("shape", [(1, 1, 7), (3, 2, 7), (3, 33, 5), (2, 10_000, 3)], ids=str)
def test_values_and_gradients_are_those_of_torch(oracle, rng, shape, name, dtype):
    inputs, dy = draw(KERNELS[name], NUMPY, rng, shape, dtype)
    theirs = run_torch(TWINS[name], inputs, dy)
    ours = KERNELS[name].run(inputs, dy)[: len(theirs)]
    tolerance = 2 * oracle.tolerance(dy.dtype, inputs[0].shape[-2])
    for one, other in zip(ours, theirs, strict=True):
        size = 1 + np.abs(other[np.isfinite(other)]).max(initial=0)
        assert_same(one, other, rtol=0, atol=tolerance * size)
