"""The kernels against PyTorch on the CPU: values, gradients, and where NaN and inf end up."""

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.kernels import batch_norm, batch_norm_backward, batch_norm_inference
from tests.cuda.checkers import assert_same
from tests.kernels.arrays import DTYPES
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


def assert_parity(oracle, name, inputs, dy):
    theirs = run_torch(TWINS[name], inputs, dy)
    ours = KERNELS[name].run(inputs, dy)[: len(theirs)]
    tolerance = 2 * oracle.tolerance(dy.dtype, inputs[0].shape[-2])
    for one, other in zip(ours, theirs, strict=True):
        size = 1 + np.abs(other[np.isfinite(other)]).max(initial=0)
        assert_same(one, other, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("shape", [(1, 1, 7), (3, 2, 7), (3, 33, 5), (2, 10_000, 3)], ids=str)
def test_values_and_gradients(oracle, rng, shape, name, dtype):
    assert_parity(oracle, name, *draw(KERNELS[name], NUMPY, rng, shape, dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TWINS)
def test_nan_and_inf_stand_where_torch_puts_them(oracle, rng, name, dtype, bad):
    for row in (0, 3):
        inputs, dy = draw(KERNELS[name], NUMPY, rng, (2, 8, 5), dtype)
        inputs[0][1, row, 2] = bad
        if abs(bad) != 1e30 or "batch norm" not in name:  # whose gradients are rounding alone
            assert_parity(oracle, name, inputs, dy)


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [*[("float32", m) for m in (1e2, 1e4, -1e6, 1e6)], *[("float64", m) for m in (1e6, 1e12)]],
)
@pytest.mark.parametrize("shape", [(1, 100, 3), (2, 1000, 5), (1, 10_000, 1)], ids=str)
def test_batch_norm_with_a_large_mean_errs_no_more_than_torch(oracle, rng, shape, dtype, offset):
    (x, gamma, beta), dy = draw(KERNELS["batch norm"], NUMPY, rng, shape, dtype)
    x += np.asarray(offset, dtype)
    right = oracle.batch_norm(x, gamma, beta, dy)
    y, cache = batch_norm(x, gamma, beta)
    ours = (y, *batch_norm_backward(dy, cache))
    theirs = run_torch(torch_batch_norm, (x, gamma, beta), dy)
    tolerance = oracle.tolerance(dtype, shape[-2])
    for name, o, t in zip(("y", "dx", "dgamma", "dbeta"), ours, theirs, strict=True):
        error_ours, error_theirs = (float(np.abs(a - getattr(right, name)).max()) for a in (o, t))
        assert error_ours <= max(error_theirs, tolerance * right.scale[name]), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_inference(oracle, rng, dtype):
    x, mean, gamma, beta = rng.standard_normal((4, 33, 7)).astype(dtype)
    mean, gamma, beta = mean[0], gamma[0], beta[0]
    var = rng.uniform(0.1, 2, 7).astype(dtype)
    tensors = [torch.tensor(a) for a in (x, mean, var, gamma, beta)]
    theirs = F.batch_norm(*tensors, eps=1e-5).numpy()
    y = batch_norm_inference(x, mean, var, gamma, beta)
    assert_same(y, theirs, rtol=0, atol=oracle.tolerance(dtype, 1) * float(np.abs(y).max()))
