"""The gradient of batch norm against differences of its own forward, in float64."""

import pytest

from gpubn.kernels import batch_norm, batch_norm_backward, batch_norm_backward_graph
from tests.cuda.checkers import assert_same, check_gradient

BACKWARDS = [batch_norm_backward, batch_norm_backward_graph]
SHAPES = [(2, 1), (2, 7), (5, 1), (12, 33), (3, 2, 1), (3, 6, 7)]


def spread(rng, shape):
    """Columns whose values are around 1 apart: a difference of step 3e-4 is small against it."""
    x = rng.standard_normal(shape)
    x[..., 0, :] += 2
    x[..., 1, :] -= 2
    return x


@pytest.mark.parametrize("eps", [0.1, 1e-5])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backward", BACKWARDS)
def test_gradient_of_x_gamma_beta(backend, rng, shape, shared, correction, eps, backward):
    per_unit = shape[-1:] if shared else (*shape[:-2], shape[-1])
    if shape[-2] == 2:
        # The gradient of a batch of 2 falls as eps/var, and with it the digits of a difference.
        eps = max(eps, 1e-2)
    x, gamma, beta = (
        backend.asarray(a)
        for a in (spread(rng, shape), rng.uniform(0.5, 2, per_unit), rng.standard_normal(per_unit))
    )

    def f(x, gamma, beta):
        return batch_norm(x, gamma, beta, eps=eps, correction=correction)[0]

    def vjp(dy):
        return backward(dy, batch_norm(x, gamma, beta, eps=eps, correction=correction)[1])

    check_gradient(f, vjp, (x, gamma, beta), rng=rng)


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("given", ["neither", "gamma", "beta"])
def test_gradient_of_x_where_a_parameter_is_none(backend, rng, backward, correction, given):
    x = backend.asarray(spread(rng, (2, 6, 5)))
    parameter = backend.asarray(rng.uniform(0.5, 2, 5))
    parameters = {} if given == "neither" else {given: parameter}

    def f(x):
        return batch_norm(x, **parameters, correction=correction)[0]

    def vjp(dy):
        return backward(dy, batch_norm(x, **parameters, correction=correction)[1])[:1]

    check_gradient(f, vjp, (x,), rng=rng)


@pytest.mark.parametrize("missing", ["gamma", "beta"])
@pytest.mark.parametrize("backward", BACKWARDS)
def test_a_missing_parameter_still_gets_its_gradient_one_a_replica(
    backend, xp, rng, missing, backward
):
    x, dy = (backend.asarray(rng.standard_normal((3, 6, 5))) for _ in range(2))
    default = (xp.ones if missing == "gamma" else xp.zeros)((3, 5))
    index = 1 if missing == "gamma" else 2
    absent = backward(dy, batch_norm(x)[1])[index]
    present = backward(dy, batch_norm(x, **{missing: default})[1])[index]
    assert_same(absent, present, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [0, 1e-5, 1.0])
@pytest.mark.parametrize("offset", [0, 1e5])
@pytest.mark.parametrize("correction", [0, 1])
def test_closed_form_and_graph_agree_to_rounding(
    backend, oracle, rng, dtype, eps, offset, correction
):
    host = [rng.standard_normal((3, 40, 7)), rng.uniform(0.5, 2, 7), rng.standard_normal(7)]
    host[0] += offset
    host = [a.astype(dtype) for a in (*host, rng.standard_normal((3, 40, 7)))]
    scale = oracle.batch_norm(*host, eps=eps, correction=correction).scale
    x, gamma, beta, dy = (backend.asarray(a) for a in host)
    _, cache = batch_norm(x, gamma, beta, eps=eps, correction=correction)
    closed, graph = (backward(dy, cache) for backward in BACKWARDS)
    sizes = (scale["dx"], 3 * scale["dgamma"], 3 * scale["dbeta"])
    for c, g, size in zip(closed, graph, sizes, strict=True):
        assert_same(c, g, rtol=0, atol=oracle.tolerance(dtype, 40) * size)
