"""The layer for PyTorch against PyTorch's own: results, gradients, state, autograd, refusals."""

import functools
import itertools
import weakref

import pytest

from gpubn.errors import ArgumentError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: its layer is not tested")

from gpubn.interop import torch_functions as functions  # noqa: E402
from gpubn.interop.torch import BatchNorm1d  # noqa: E402
from tests.interop.parity import (  # noqa: E402
    OPTIONS,
    SHAPES,
    C,
    assert_parity,
    both_modes,
    draw,
    of_every_shape,
    pair,
    run,
)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    return torch.device("cuda", torch.cuda.current_device())


on_cuda = pytest.mark.parametrize(
    "device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True
)


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@both_modes
@pytest.mark.parametrize("contiguous", [True, False], ids=["contiguous", "strided"])
@of_every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_parity(device, dtype, shape, contiguous, training, affine):
    own = torch.float64 if dtype == "float64" else torch.float32
    for options in OPTIONS:
        theirs, ours = pair(device, own, training=training, affine=affine, **options)
        buffers = {name: (b, b.data_ptr()) for name, b in ours.named_buffers()}
        track = options["track_running_stats"]
        steps = 3 if track and training else 1
        draw_one = functools.partial(draw, SHAPES[shape], dtype, contiguous, device)
        assert_parity(theirs, ours, steps, draw_one)
        assert ours.num_batches_tracked == (3 * training if track else None)
        for name, buffer in ours.named_buffers():  # updated in place
            assert (buffer is buffers[name][0], buffer.data_ptr()) == (True, buffers[name][1])


@both_modes
def test_statistics_that_are_no_longer_tracked(training):
    theirs, ours = pair(training=training)
    theirs.track_running_stats = ours.track_running_stats = False
    before = ours.running_mean.clone()
    assert_parity(theirs, ours, 1, draw)
    assert torch.equal(ours.running_mean, before)
    assert int(ours.num_batches_tracked) == 0


@both_modes
@of_every_shape
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_parameters_in_half_precision(dtype, shape, training):
    theirs, ours = pair(dtype=getattr(torch, dtype), training=training)
    addresses = [buffer.data_ptr() for buffer in ours.buffers()]
    assert_parity(theirs, ours, 1, lambda: draw(SHAPES[shape], dtype))
    assert [buffer.data_ptr() for buffer in ours.buffers()] == addresses


@both_modes
@of_every_shape
@pytest.mark.parametrize("affine", [True, False])
def test_gradcheck(affine, shape, training):
    _, ours = pair(dtype=torch.float64, training=training, affine=affine)
    parameters = dict(ours.named_parameters())

    def call(x, *values):
        return torch.func.functional_call(ours, dict(zip(parameters, values, strict=True)), (x,))

    x = torch.randn(SHAPES[shape], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (x, *parameters.values()))


@both_modes
@pytest.mark.parametrize("frozen", list(itertools.product((True, False), repeat=3)), ids=str)
def test_only_what_needs_a_gradient_gets_one(frozen, training):
    gradients = []
    x0, dy = draw()
    for module in pair(training=training):
        leaves = (x0.detach().clone(), module.weight, module.bias)
        for leaf, still in zip(leaves, frozen, strict=True):
            leaf.requires_grad_(not still)
        y = module(leaves[0])
        assert y.requires_grad == (not all(frozen))
        if y.requires_grad:
            y.backward(dy)
        gradients.append([leaf.grad for leaf in leaves])
    for still, theirs, ours in zip(frozen, *gradients, strict=True):
        assert (ours is None) == still
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@both_modes
def test_nothing_is_recorded_without_gradients(training):
    theirs, ours = pair(training=training)
    x, _ = draw()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            y = ours(x)
            assert not y.requires_grad
            torch.testing.assert_close(y, theirs(x))


def test_autograd_frees_what_the_backward_pass_needed(monkeypatch):
    def spy(*args, **options):
        y, cache = kernel(*args, **options)
        kept.append(weakref.ref(cache.x_hat))
        return y, cache

    kept, kernel = [], functions.batch_norm
    monkeypatch.setattr(functions, "batch_norm", spy)
    leaf, dy = draw()
    x = leaf * 1
    of_x = weakref.ref(x)
    y = BatchNorm1d(C)(x)
    (x_hat,) = kept
    del x
    assert of_x() is None  # x_hat is enough
    assert x_hat() is not None
    y.backward(dy)
    assert x_hat() is None  # though the graph itself is still there
    assert y.grad_fn is not None


def test_frozen_parameters_in_eval_keep_no_input():
    ours = BatchNorm1d(C).eval().requires_grad_(False)
    leaf, dy = draw()
    x = leaf * 1
    of_x = weakref.ref(x)
    y = ours(x)
    del x
    assert of_x() is None
    y.backward(dy)
    torch.testing.assert_close(leaf.grad, dy / (1 + 1e-5) ** 0.5)


def test_training_between_leaves_the_gradient_of_eval_alone():
    _, ours = pair()
    x, dy = draw()
    expected = run(ours.eval(), x, dy)
    y = ours(x)
    ours.train()(3 * x.detach())
    ours.zero_grad()
    y.backward(dy)
    assert torch.equal(x.grad, expected["dx"])
    assert torch.equal(ours.weight.grad, expected["dweight"])


@both_modes
@pytest.mark.parametrize("dy_needs_it", [True, False])
@pytest.mark.parametrize("wanted", ["x", "weight"])
def test_a_second_derivative_is_refused_when_it_is_computed(wanted, dy_needs_it, training):
    _, ours = pair(training=training)
    x, dy = draw()
    dy.requires_grad_(dy_needs_it)
    leaf = {"x": x, "weight": ours.weight}[wanted]
    y = ours(x)
    first = torch.autograd.grad(y, [x, ours.weight, ours.bias], dy, create_graph=True)
    plain = torch.autograd.grad(ours(x), [x, ours.weight, ours.bias], dy)
    for a, b in zip(first, plain, strict=True):
        torch.testing.assert_close(a.detach(), b)
    penalty = sum((g**2).sum() for g in first) + (leaf**2).sum()
    with pytest.raises(ArgumentError, match="expected a first derivative"):
        torch.autograd.grad(penalty, leaf)


@both_modes
def test_unusual_inputs_are_treated_as_in_torch(training):
    """None at all, and a minus sign that is still to be applied."""
    lazy = torch.imag(torch.randn(7, C, dtype=torch.complex64).conj())
    assert lazy.is_neg()
    for x in (torch.empty(0, C), torch.empty(0, C, 3), torch.empty(4, C, 0), lazy):
        theirs, ours = pair(training=training)
        found, expected = run(ours, x, x), run(theirs, x.resolve_neg(), x.resolve_neg())
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value)


REFUSED = {
    r"x has shape \(4, 3\); expected \(N, 5\) or \(N, 5, L\)": torch.ones(4, 3),
    r"x has shape \(4, 3, 5\); expected \(N, 5\) or \(N, 5, L\)": torch.ones(4, 3, 5),
    r"x has shape \(5,\); expected": torch.ones(5),
    r"x has shape \(4, 5, 3, 3\); expected": torch.ones(4, 5, 3, 3),
    "x has dtype torch.int32 .*; expected a dense tensor of": torch.ones(4, 5).int(),
    "x has dtype torch.complex64": torch.ones(4, 5) * 1j,
    "x has dtype torch.float8_e4m3fn": torch.ones(4, 5).to(torch.float8_e4m3fn),
    "x has dtype .* layout torch.sparse_coo; expected a dense": torch.ones(4, 5).to_sparse(),
    r"x has shape \(1, 5\), one value a channel; expected at least 2": torch.ones(1, 5),
    r"x has shape \(1, 5, 1\), one value a channel": torch.ones(1, 5, 1),
    "weight has dtype torch.float32; expected torch.float64": torch.ones(4, 5).double(),
    "weight lies on cpu; expected meta, as x does": torch.ones(4, 5, device="meta"),
}
REFUSED_OPTIONS = {
    "running_mean has dtype torch.float64; expected torch.float32, as x has": {
        **{"affine": False, "dtype": torch.float64},
    },
    "weight has dtype torch.float16; expected torch.float32": {"dtype": torch.float16},
    "weight lies on meta; expected cpu, as x does": {"device": "meta"},
    "momentum is 1.5; expected a number from 0 to 1": {"momentum": 1.5},
    "eps is -1.0; expected": {"eps": -1.0},
}


@pytest.mark.parametrize("message", [*REFUSED, *REFUSED_OPTIONS])
def test_refusals_are_one_sentence_and_count_no_batch(message):
    ours = BatchNorm1d(C, **REFUSED_OPTIONS.get(message, {}))
    with pytest.raises(ArgumentError, match=f"^{message}") as caught:
        ours(REFUSED.get(message, torch.ones(4, C)))
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")
    if message in REFUSED:
        assert int(ours.num_batches_tracked) == 0


class OnCuda(torch.Tensor):
    is_cuda = True


@both_modes
def test_the_capture_of_somebody_elses_graph_is_refused(training, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(ArgumentError, match="while a CUDA graph is captured"):
        BatchNorm1d(C).train(training)(torch.empty(4, C).as_subclass(OnCuda))


def test_one_value_a_channel_evaluates_by_running_statistics_alone():
    assert BatchNorm1d(C).eval()(torch.ones(1, C)).shape == (1, C)
    with pytest.raises(ArgumentError, match="one value a channel"):
        BatchNorm1d(C, track_running_stats=False).eval()(torch.ones(1, C))


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@both_modes
@of_every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_fused_kernels(fused, dtype, shape, training):
    theirs, ours = pair(dtype=torch.float64 if dtype == "float64" else torch.float32)
    theirs.train(training), ours.train(training)
    assert_parity(theirs, ours, 2, lambda: draw(SHAPES[shape], dtype))
    assert fused.launched
    assert all(name.startswith("batch_norm_") for name in fused.launched)


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize("changed", ["x", "weight"])
def test_what_was_changed_before_the_backward_pass_is_found(fused, changed):
    """The kernels keep x itself, which autograd has to watch."""
    ours = BatchNorm1d(C)
    leaf, dy = draw()
    x = leaf * 1
    y = ours(x)
    with torch.no_grad():
        {"x": x, "weight": ours.weight}[changed].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(dy)


@on_cuda
def test_a_side_stream_orders_the_kernels(device):
    """Behind a long kernel: on any other stream the layer would read x before it is written."""
    theirs, ours = pair(device)
    value, dy = draw((512, C), device=device)
    expected = run(theirs, value, dy)
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        run(ours, value, dy)  # compiles, and fills the pools
        x, late = torch.zeros_like(value, requires_grad=True), torch.zeros_like(dy)
        side.synchronize()
        torch.cuda._sleep(200_000_000)
        with torch.no_grad():
            x.copy_(value)
        y = ours(x)
        torch.cuda._sleep(200_000_000)
        late.copy_(dy)
        (dx,) = torch.autograd.grad(y, x, late)
        busy = not side.query()
    torch.cuda.synchronize()
    assert busy  # nothing waited for the device in between
    torch.testing.assert_close(y, expected["y"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dx, expected["dx"], rtol=1e-4, atol=1e-4)


@on_cuda
def test_memory_is_not_given_away_while_it_is_used(device):
    """Outputs dropped at once while their stream is behind: the next ones must not overlap them."""
    ours = BatchNorm1d(C, affine=False, track_running_stats=False, device=device)
    x = torch.randn(1000, C, device=device)
    expected = ours(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        sums = [(ours(x * k) - expected).abs().max() for k in range(1, 20)]
    torch.cuda.synchronize()
    assert max(map(float, sums)) < 1e-3
