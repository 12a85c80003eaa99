"""The operators that Torch traces: their contracts, leading axes, and statistics."""

import math
import weakref

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: its layer is not tested")

from gpubn.errors import ArgumentError  # noqa: E402
from gpubn.interop import torch_operators as operators  # noqa: E402
from tests.interop.parity import C  # noqa: E402

N, EPS = 7, 1e-3
LEADING = {"(N, C)": (), "(R, N, C)": (3,), "(Q, R, N, C)": (2, 3)}
OPERATORS = {
    "batch_norm": operators.normalise,
    "batch_norm_backward": operators.normalise_backward,
    "batch_norm_inference": operators.normalise_by,
    "batch_norm_inference_backward": operators.normalise_by_backward,
}
of_every_operator = pytest.mark.parametrize("name", OPERATORS)
on_both_kinds = pytest.mark.parametrize("backend", ["numpy", "numba", "shim"], indirect=True)


@pytest.fixture
def on_backend(request, backend):
    """The operators on this backend; the shim's is what runs on CUDA."""
    if backend.device == "shim":
        request.getfixturevalue("fused")


def arguments(name, leading=(), dtype=torch.float32, affine=True, needs_gradient=False):
    """What the operator takes, for rows of this dtype with these leading axes."""

    def draw(*shape, dtype=dtype):
        drawn = (torch.randn(*leading, *shape, dtype=torch.float64) + 1).to(dtype)
        return drawn.requires_grad_(needs_gradient)

    wide = operators.WIDE[dtype]
    x, dy = draw(N, C), draw(N, C)
    gamma, beta = (draw(C, dtype=wide) if affine else None for _ in range(2))
    mean, var = (draw(C, dtype=wide).detach() for _ in range(2))
    statistics = operators.normalise(x, gamma, beta, EPS)[1]
    given = torch.stack((mean, var.abs()), -2)
    return {
        "batch_norm": (x, gamma, beta, EPS),
        "batch_norm_backward": (dy, x, gamma, statistics),
        "batch_norm_inference": (x, mean, var.abs(), gamma, beta, EPS),
        "batch_norm_inference_backward": (dy, x if affine else None, gamma, given, EPS),
    }[name]


@of_every_operator
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_torch_checks_the_contract(name, affine, dtype):
    """Schema, fake tensors, gradient and tracing."""
    first = not name.endswith("backward")  # a second derivative is refused
    given = arguments(name, (3,) * affine, dtype, affine, needs_gradient=first)
    torch.library.opcheck(OPERATORS[name], given)


@of_every_operator
@on_both_kinds
@pytest.mark.parametrize("leading", ["(R, N, C)", "(Q, R, N, C)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_leading_axes_are_replicas(name, leading, dtype, backend, on_backend):
    leading = LEADING[leading]
    operator, given = OPERATORS[name], arguments(name, leading, dtype)
    found = operator(*given)
    for place in torch.cartesian_prod(*map(torch.arange, leading)).reshape(-1, len(leading)):
        piece = [a[tuple(place)] if isinstance(a, torch.Tensor) else a for a in given]
        for one, all_of_them in zip(operator(*piece), found, strict=True):
            torch.testing.assert_close(all_of_them[tuple(place)], one)


@of_every_operator
def test_what_is_strided_is_taken_as_it_stands(name):
    operator, given = OPERATORS[name], arguments(name, (3,))
    turned = [
        a.transpose(0, -1).contiguous().transpose(0, -1) if isinstance(a, torch.Tensor) else a
        for a in given
    ]
    for found, expected in zip(operator(*turned), operator(*given), strict=True):
        assert found.is_contiguous()
        torch.testing.assert_close(found, expected)


@of_every_operator
@on_both_kinds
def test_outputs_share_no_memory(name, backend, on_backend):
    found = OPERATORS[name](*arguments(name, (3,)))
    assert len({one.untyped_storage().data_ptr() for one in found}) == len(found)


@on_both_kinds
def test_statistics_keep_the_digits_that_a_large_mean_hides(backend, on_backend):
    x, dy = (torch.randn(2, N, C) + 2**17).double()
    dy -= 2**17
    y, statistics = operators.normalise(x.float(), None, None, 0.0)
    dx, dgamma, _ = operators.normalise_backward(dy.float(), x.float(), None, statistics)
    var, mean = torch.var_mean(x, 0, correction=0)
    expected = {"mean": mean, "shift": mean - x[0], "inv_std": var**-0.5, "var": var}
    x_hat = (x - mean) * expected["inv_std"]
    of_x = expected["inv_std"] * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
    expected |= {"y": x_hat, "dx": of_x, "dgamma": (dy * x_hat).sum(0)}
    for (name, right), found in zip(expected.items(), (*statistics, y, dx, dgamma), strict=True):
        torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-5, msg=name)


@on_both_kinds
def test_a_constant_column_has_no_shift(backend, on_backend):
    x = torch.full((N, C), math.pi)
    y, statistics = operators.normalise(x, None, None, 0.0)
    assert not y.any()
    assert not statistics[1:].any()
    dx, *_ = operators.normalise_backward(torch.ones_like(x), x, None, statistics)
    assert not dx.any()


def test_frozen_parameters_keep_no_input():
    x, mean, var, gamma, beta, eps = arguments("batch_norm_inference")
    x.requires_grad_()
    held = x * 1
    of_held = weakref.ref(held)
    y, _ = operators.normalise_by(held, mean, var, gamma, beta, eps)
    del held
    assert of_held() is None
    y.sum().backward()
    torch.testing.assert_close(x.grad, (gamma / (var + eps) ** 0.5).expand(N, C))


def test_the_capture_of_somebody_elses_graph_is_refused(monkeypatch):
    """Torch's own captures leave the operators out: they are tagged."""
    refused = []
    monkeypatch.setattr(operators, "refuse_capture", refused.append)
    for name in OPERATORS:
        given = arguments(name)
        refused.clear()
        OPERATORS[name](*given)
        assert refused
        overload = getattr(torch.ops.gpubn, name).default
        assert torch.Tag.cudagraph_unsafe in overload.tags


@pytest.mark.parametrize("name", ["batch_norm_backward", "batch_norm_inference_backward"])
def test_a_second_derivative_is_refused(name):
    dx, *_ = OPERATORS[name](*arguments(name, needs_gradient=True))
    with pytest.raises(ArgumentError, match="expected a first derivative"):
        dx.sum().backward()
