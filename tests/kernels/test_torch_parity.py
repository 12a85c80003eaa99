"""The kernels against PyTorch on the CPU: values, gradients, and where NaN and inf end up."""

import numpy as np
import pytest

from gpubn.kernels import (
    activation,
    affine,
    affine_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_inference,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from tests.cuda.checkers import assert_same

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it is tested")
F = torch.nn.functional

DTYPES = ["float32", "float64"]
SHAPES = [
    *[(2, 1), (2, 7), (5, 1), (33, 33), (10_000, 7)],
    *[(1, 2, 1), (3, 2, 7), (3, 33, 5), (2, 10_000, 3)],
]


def run_torch(function, inputs, dy):
    """Value and gradients of `function`, replica by replica where there are any."""
    replicas = [None] if dy.ndim == 2 else range(len(dy))
    results = []
    for r in replicas:
        tensors = [torch.tensor(a if r is None else a[r], requires_grad=True) for a in inputs]
        y = function(*tensors)
        y.backward(torch.tensor(dy if r is None else dy[r]))
        results.append([y.detach().numpy(), *(t.grad.numpy() for t in tensors)])
    if dy.ndim == 2:
        return results[0]
    return [np.stack(column) for column in zip(*results, strict=True)]


def torch_batch_norm(x, gamma, beta):
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)


def draw(rng, shape, dtype, offset=0.0):
    """Host arrays x, gamma, beta, dy; one gamma and beta a replica."""
    per_unit = (*shape[:-2], shape[-1])
    arrays = (
        rng.standard_normal(shape) + offset,
        rng.uniform(0.5, 2, per_unit),
        rng.standard_normal(per_unit),
        rng.standard_normal(shape),
    )
    return [a.astype(dtype) for a in arrays]


@pytest.mark.parametrize("backward", [batch_norm_backward, batch_norm_backward_graph])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(oracle, rng, shape, dtype, backward):
    x, gamma, beta, dy = draw(rng, shape, dtype)
    scale = oracle.batch_norm(x, gamma, beta, dy).scale
    y, cache = batch_norm(x, gamma, beta)
    ours = (y, *backward(dy, cache))
    theirs = run_torch(torch_batch_norm, (x, gamma, beta), dy)
    tolerance = oracle.tolerance(dtype, shape[-2])
    for name, o, t in zip(("y", "dx", "dgamma", "dbeta"), ours, theirs, strict=True):
        assert_same(o, t, rtol=0, atol=2 * tolerance * scale[name])


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [*[("float32", m) for m in (1e2, 1e4, -1e6, 1e6)], *[("float64", m) for m in (1e6, 1e12)]],
)
@pytest.mark.parametrize("shape", [(2, 7), (100, 3), (2, 1000, 5), (10_000, 1)], ids=str)
def test_batch_norm_with_a_large_mean_errs_no_more_than_torch(oracle, rng, shape, dtype, offset):
    x, gamma, beta, dy = draw(rng, shape, dtype, offset)
    right = oracle.batch_norm(x, gamma, beta, dy)
    y, cache = batch_norm(x, gamma, beta)
    ours = (y, *batch_norm_backward(dy, cache))
    theirs = run_torch(torch_batch_norm, (x, gamma, beta), dy)
    tolerance = oracle.tolerance(dtype, shape[-2])
    for name, o, t in zip(("y", "dx", "dgamma", "dbeta"), ours, theirs, strict=True):
        expected = getattr(right, name)
        error_ours, error_theirs = (float(np.abs(a - expected).max()) for a in (o, t))
        assert error_ours <= max(error_theirs, tolerance * right.scale[name]), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 3, 1001])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, 1e-30])
def test_batch_norm_of_a_constant_column(oracle, rng, constant, n, dtype):
    x, gamma, beta, dy = draw(rng, (n, 3), dtype)
    x[:, 1] = constant
    scale = oracle.batch_norm(x, gamma, beta, dy).scale
    y, cache = batch_norm(x, gamma, beta)
    assert (y[:, 1] == beta[1]).all()
    ours = (y, *batch_norm_backward(dy, cache))
    theirs = run_torch(torch_batch_norm, (x, gamma, beta), dy)
    tolerance = 2 * oracle.tolerance(dtype, n)
    # In the constant column Torch's mean may be a rounding off, which 1/sqrt(eps) magnifies.
    slack = np.array([0, 4 * constant * np.finfo(dtype).eps / 1e-5**0.5 * np.abs(dy).sum(), 0])
    for name, o, t in zip(("y", "dx", "dgamma", "dbeta"), ours, theirs, strict=True):
        for column in range(3):
            off = slack[column] * (1 if name != "dx" else scale["dx"])
            atol = tolerance * scale[name] + off
            assert_same(o[..., [column]], t[..., [column]], rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [0, 3, -1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_batch_norm_puts_nan_where_torch_does(oracle, rng, bad, row, dtype):
    x, gamma, beta, dy = draw(rng, (8, 5), dtype)
    x[row, 2] = bad
    y, cache = batch_norm(x, gamma, beta)
    ours = (y, *batch_norm_backward(dy, cache))
    theirs = run_torch(torch_batch_norm, (x, gamma, beta), dy)
    for o, t in zip(ours, theirs, strict=True):
        assert_same(o, t, rtol=0, atol=100 * oracle.tolerance(dtype, 8))
    assert np.isnan(y).sum() == 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("shape", [(1, 7), *SHAPES], ids=str)
def test_batch_norm_inference(oracle, rng, shape, offset, dtype):
    x, gamma, beta, dy = draw(rng, shape, dtype, offset)
    per_unit = gamma.shape
    mean = (rng.standard_normal(per_unit) + offset).astype(dtype)
    var = rng.uniform(0.1, 2, per_unit).astype(dtype)
    y = batch_norm_inference(x, mean, var, gamma, beta)

    def inference(x, mean, var, gamma, beta):
        y = F.batch_norm(x, mean.detach(), var.detach(), gamma, beta, eps=1e-5)
        return y + 0 * (mean + var)  # only so that every input has a gradient

    theirs = run_torch(inference, (x, mean, var, gamma, beta), dy)[0]
    # Torch folds scale and shift, which cancels where |mean| >> std; ours must not.
    wide = [a[..., None, :].astype(np.float64) for a in (mean, var, gamma, beta)]
    right = (x - wide[0]) / np.sqrt(wide[1] + 1e-5) * wide[2] + wide[3]
    error_ours, error_theirs = (float(np.abs(a - right).max()) for a in (y, theirs))
    limit = oracle.tolerance(dtype, 1) * float(np.abs(right).max())
    assert error_ours <= limit
    assert_same(y, theirs, rtol=0, atol=limit + error_theirs)
    assert error_theirs <= limit * (1 + offset)  # the two computed the same thing at all


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 7), *SHAPES], ids=str)
def test_affine(oracle, rng, shape, dtype):
    *r, n, d = shape
    x, w, b, dy = (
        rng.standard_normal(s).astype(dtype) for s in ((*r, n, d), (*r, d, 5), (*r, 5), (*r, n, 5))
    )
    y, cache = affine(x, w, b)
    ours = (y, *affine_backward(dy, cache))
    theirs = run_torch(lambda x, w, b: F.linear(x, w.T, b), (x, w, b), dy)
    for o, t, terms in zip(ours, theirs, (d, 5, n, n), strict=True):
        # A sum of n terms, each below 25 in size.
        assert_same(o, t, rtol=0, atol=25 * terms**0.5 * oracle.tolerance(dtype, terms))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("shape", [(1, 7), *SHAPES], ids=str)
def test_activation(rng, shape, name, dtype):
    forward, backward = activation(name)
    x, _, _, dy = draw(rng, shape, dtype)
    x *= 3
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e4, -1e4, 1e30, -1e30], dtype)
    special = special[: x.size]
    x.reshape(-1)[: special.size] = special
    y, cache = forward(x)
    theirs = run_torch(getattr(torch, name), (x,), dy)
    eps = float(np.finfo(dtype).eps)
    assert_same(y, theirs[0], rtol=8 * eps)
    dx = backward(dy, cache)
    assert_same(dx, theirs[1], rtol=8 * eps, atol=8 * eps * np.abs(dy).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 100, 1e4])
@pytest.mark.parametrize("shape", [(1, 7), *SHAPES], ids=str)
def test_softmax_cross_entropy(oracle, rng, shape, scale, dtype):
    logits = (scale * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[-1], shape[:-1])
    loss, cache = softmax_cross_entropy(logits, labels)
    dlogits = softmax_cross_entropy_backward(cache)
    rows = range(shape[0]) if len(shape) == 3 else [...]
    for r in rows:
        tensor = torch.tensor(logits[r], requires_grad=True)
        theirs = F.cross_entropy(tensor, torch.tensor(labels[r]))
        theirs.backward()
        tolerance = oracle.tolerance(dtype, shape[-1])
        size = float(np.abs(logits).max())
        # The mean of N losses, each up to the spread of the logits.
        atol = oracle.tolerance(dtype, shape[-2]) * size
        value = np.asarray(loss) if r is ... else loss[r]
        assert_same(value, theirs.detach().numpy()[()], rtol=tolerance, atol=atol)
        gradient = dlogits if r is ... else dlogits[r]
        # A logit of this size is rounded by eps of it, which exp turns into a relative error.
        atol = 2 * float(np.finfo(dtype).eps) * max(size, 8) / shape[-2]
        assert_same(gradient, tensor.grad.numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_softmax_cross_entropy_puts_nan_where_torch_does(rng, bad):
    logits = rng.standard_normal((4, 3))
    logits[2, 1] = bad
    for label in (0, 1):
        labels = np.array([0, 1, label, 2])
        tensor = torch.tensor(logits, requires_grad=True)
        theirs = F.cross_entropy(tensor, torch.tensor(labels))
        theirs.backward()
        loss, cache = softmax_cross_entropy(logits, labels)
        assert_same(np.asarray(loss), theirs.detach().numpy(), rtol=1e-12)
        dlogits = softmax_cross_entropy_backward(cache)
        assert_same(dlogits, tensor.grad.numpy(), rtol=0, atol=1e-12)
