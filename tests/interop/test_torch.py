"""The layer for PyTorch against PyTorch's own: results, gradients, state, autograd, refusals."""

import copy
import functools
import io
import itertools
import subprocess
import sys
import weakref
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gpubn.backend.streams import on_stream
from gpubn.errors import ArgumentError, BackendError
from tests.cuda.standin import lift

torch = pytest.importorskip("torch", reason="PyTorch is not installed: its layer is not tested")

from gpubn.interop import torch as interop  # noqa: E402
from gpubn.interop.torch import BatchNorm1d  # noqa: E402

C = 5
SHAPES = {"(N, C)": (7, C), "(N, C, L)": (4, C, 3)}
DTYPES = ["float32", "float64", "bfloat16", "float16"]
OPTIONS = [
    *(
        (True, momentum, eps)
        for momentum, eps in ((None, 1e-5), (0.1, 1.0), (1.0, 1e-3), (0.0, 1e-5))
    ),
    *((False, momentum, eps) for momentum, eps in ((None, 1e-5), (0.1, 1.0))),
]
"""track_running_stats, momentum, eps"""
HALF = ["bfloat16", "float16"]
STATE = ("running_mean", "running_var", "num_batches_tracked")
gpu = pytest.mark.gpu


@pytest.fixture(autouse=True)
def seeded():
    """On one thread: on busy cores threads wait longer for each other than these shapes take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    return torch.device("cuda", torch.cuda.current_device())


def pair(device="cpu", dtype=torch.float32, **options):
    """Torch's layer and ours, with the same parameters and statistics."""
    theirs = torch.nn.BatchNorm1d(C, **options)
    ours = BatchNorm1d(C, **options)
    with torch.no_grad():
        for tensor in (*theirs.parameters(), theirs.running_mean, theirs.running_var):
            if tensor is not None:
                tensor.uniform_(0.5, 2)
    ours.load_state_dict(theirs.state_dict())
    return theirs.to(device, dtype), ours.to(device, dtype)


def draw(shape=(7, C), dtype="float32", contiguous=True, device="cpu"):
    """x and dy: a leaf that needs a gradient, and the gradient of its output."""
    dtype = getattr(torch, dtype)
    x, dy = (2 * torch.randn(shape, device=device).to(dtype) + 1 for _ in range(2))
    if not contiguous:
        x, dy = (a.transpose(0, 1).contiguous().transpose(0, 1) for a in (x, dy))
        assert not x.is_contiguous()
    return x.requires_grad_(), dy


def run(module, x, dy):
    """One step: everything that comes out of it."""
    x = x.detach().requires_grad_()
    module.zero_grad()
    y = module(x)
    y.backward(dy)
    found = {"y": y.detach(), "dx": x.grad}
    found |= {f"d{name}": p.grad.clone() for name, p in module.named_parameters()}
    return found | {name: buffer.clone() for name, buffer in module.named_buffers()}


def wide(tensor):
    return tensor.detach().cpu().double().numpy()


def exact(module):
    """The same module in float64."""
    return copy.deepcopy(module).double()


def limits(oracle, module, x, dy, by_batch):
    """How far from exact a right result may be: rounding of sums of terms of these sizes."""
    rows, drows = (wide(a.movedim(1, -1).reshape(-1, C)) for a in (x, dy))
    gamma, beta = (np.ones(C) if p is None else wide(p) for p in (module.weight, module.bias))
    if by_batch:
        scale = dict(oracle.batch_norm(rows, gamma, beta, drows, eps=module.eps).scale)
    else:  # Torch folds, which rounds at the size of x and of the mean
        inv = 1 / np.sqrt(wide(module.running_var) + module.eps)
        size = (np.abs(rows) + np.abs(wide(module.running_mean))) * inv
        scale = {"y": np.max(np.abs(gamma) * size) + np.max(np.abs(beta))}
        scale["dx"] = np.max(np.abs(gamma * inv)) * np.abs(drows).max()
        scale["dgamma"] = (np.abs(drows) * size).sum(0).max()
        scale["dbeta"] = np.abs(drows).sum(0).max()
    scale |= {"dweight": scale.pop("dgamma"), "dbias": scale.pop("dbeta")}
    scale |= {"running_mean": np.abs(rows).max(), "running_var": (rows**2).max() + 4}
    scale["num_batches_tracked"] = 0.0
    tolerance = oracle.tolerance("float64" if x.dtype == torch.float64 else "float32", len(rows))

    def limit(name, value):  # half precision is computed in float32, and rounded when it is stored
        stored = torch.finfo(value.dtype).eps if value.dtype.itemsize == 2 else 0.0
        return 2 * tolerance * scale[name] + stored * float(value.abs().max())

    return limit


def assert_alike(ours, theirs, right, limit):
    """`ours` has the kinds of `theirs` and the values of `right`."""
    assert ours.keys() == theirs.keys() == right.keys()
    for name, o in ours.items():
        t = theirs[name]
        assert (o.dtype, o.shape, o.device) == (t.dtype, t.shape, t.device), name
        assert o.isfinite().all(), name
        gap = float((o.double() - right[name]).abs().max())
        assert gap <= limit(name, o), (name, gap, limit(name, o))


def assert_parity(oracle, theirs, ours, steps, draw_one):
    """Step after step, with everything that comes out."""
    right = exact(theirs)
    for _ in range(steps):
        x, dy = draw_one()
        limit = limits(oracle, right, x, dy, theirs.training or theirs.running_mean is None)
        found = run(ours, x, dy), run(theirs, x, dy), run(right, x.double(), dy.double())
        assert_alike(*found, limit)
        assert found[0]["y"].is_contiguous()


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("contiguous", [True, False], ids=["contiguous", "strided"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parity(oracle, dtype, shape, contiguous, training, affine):
    own = torch.float64 if dtype == "float64" else torch.float32
    for track, momentum, eps in OPTIONS:
        options = {"track_running_stats": track, "momentum": momentum, "eps": eps}
        theirs, ours = (m.train(training) for m in pair(dtype=own, affine=affine, **options))
        steps = 3 if track and training else 1
        draw_one = functools.partial(draw, SHAPES[shape], dtype, contiguous)
        assert_parity(oracle, theirs, ours, steps, draw_one)
        assert ours.num_batches_tracked == (3 * training if track else None)


def test_statistics_that_are_no_longer_tracked(oracle):
    theirs, ours = pair()
    theirs.track_running_stats = ours.track_running_stats = False
    before = ours.running_mean.clone()
    for training in (True, False):
        theirs.train(training), ours.train(training)
        assert_parity(oracle, theirs, ours, 1, draw)
    assert torch.equal(ours.running_mean, before)
    assert int(ours.num_batches_tracked) == 0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", HALF)
def test_parameters_in_half_precision(oracle, dtype, shape, training):
    theirs, ours = (m.train(training) for m in pair(dtype=getattr(torch, dtype)))
    assert ours.weight.dtype == ours.running_var.dtype == getattr(torch, dtype)
    assert_parity(oracle, theirs, ours, 1, lambda: draw(SHAPES[shape], dtype))


@pytest.mark.parametrize("dtype", HALF)
def test_autocast(oracle, dtype):
    dtype = getattr(torch, dtype)
    theirs, ours = pair()
    linear = torch.nn.Linear(4, C)
    found = []
    for module in (ours, theirs):
        linear.zero_grad()
        with torch.autocast("cpu", dtype):
            h = linear(torch.arange(28.0).reshape(7, 4))
            y = module(h)
        assert (h.dtype, y.dtype) == (dtype, dtype)
        (y.float() ** 2 * torch.arange(C)).sum().backward()
        assert (module.weight.grad.dtype, module.running_var.dtype) == (torch.float32,) * 2
        found.append((y, module.weight.grad, module.bias.grad, module.running_var))
    for o, t in zip(*found, strict=True):
        torch.testing.assert_close(o, t, rtol=4 * torch.finfo(dtype).eps, atol=1e-2)


def test_constructor_and_repr():
    for args, options in (((C,), {}), ((C, 1e-3, None, False, False), {"dtype": torch.float64})):
        theirs, ours = torch.nn.BatchNorm1d(*args, **options), BatchNorm1d(*args, **options)
        assert isinstance(ours, torch.nn.BatchNorm1d)
        assert repr(ours) == repr(theirs)
        assert [*ours.state_dict()] == [*theirs.state_dict()]
        assert all(torch.equal(a, theirs.state_dict()[n]) for n, a in ours.state_dict().items())


def test_state_goes_both_ways():
    theirs, ours = torch.nn.BatchNorm1d(C), BatchNorm1d(C)
    for source, target in ((ours, theirs), (theirs, ours)):
        source(draw()[0])
        target.load_state_dict(source.state_dict())
        for name, value in source.state_dict().items():
            assert torch.equal(value, target.state_dict()[name])
    x, _ = draw()
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_copies_and_pickles(tmp_path):
    ours = BatchNorm1d(C, momentum=0.3)
    ours(draw()[0]).sum().backward()
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    x, dy = draw()
    expected = run(copy.deepcopy(ours), x, dy)
    for other in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert type(other) is BatchNorm1d
        assert other.running_mean.data_ptr() != ours.running_mean.data_ptr()
        found = run(other, x, dy)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert int(ours.num_batches_tracked) == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_buffers_are_updated_in_place(dtype):
    ours = BatchNorm1d(C, momentum=1.0, dtype=getattr(torch, dtype))
    buffers = dict(ours.named_buffers())
    addresses = {name: b.data_ptr() for name, b in buffers.items()}
    x, _ = draw(dtype=dtype)
    ours(x)
    for name, buffer in ours.named_buffers():
        assert buffer is buffers[name]
        assert buffer.data_ptr() == addresses[name]
    torch.testing.assert_close(buffers["running_mean"], x.detach().mean(0))
    ours.eval()(x)
    assert int(ours.num_batches_tracked) == 1


def test_memory_is_shared(monkeypatch):
    seen = {}

    def spy(x, gamma, beta, *, running, **options):
        y, cache = kernel(x, gamma, beta, running=running, **options)
        arrays = (x, gamma, beta, running.mean, running.spread, y)
        seen.update(zip(("x", "weight", "bias", "mean", "var", "y"), arrays, strict=True))
        return y, cache

    kernel = interop.batch_norm
    monkeypatch.setattr(interop, "batch_norm", spy)
    ours = BatchNorm1d(C)
    x, _ = draw()
    y = ours(x)
    tensors = (x, ours.weight, ours.bias, ours.running_mean, ours.running_var, y)
    for (name, array), tensor in zip(seen.items(), tensors, strict=True):
        assert type(array) is np.ndarray
        assert array.ctypes.data == tensor.data_ptr(), name


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_gradcheck(affine, shape, training):
    _, ours = (m.train(training) for m in pair(dtype=torch.float64, affine=affine))
    parameters = dict(ours.named_parameters())

    def call(x, *values):
        return torch.func.functional_call(ours, dict(zip(parameters, values, strict=True)), (x,))

    x = torch.randn(SHAPES[shape], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (x, *parameters.values()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", list(itertools.product((True, False), repeat=3)), ids=str)
def test_only_what_needs_a_gradient_gets_one(frozen, training):
    gradients = []
    x0, dy = draw()
    for module in (m.train(training) for m in pair()):
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


def test_nothing_is_recorded_without_gradients():
    theirs, ours = pair()
    x, _ = draw()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            for training in (True, False):
                y = ours.train(training)(x)
                assert not y.requires_grad
                torch.testing.assert_close(y, theirs.train(training)(x))
    assert not ours.train()(x.detach()).isnan().any()


def test_one_module_twice_in_a_graph():
    x, dy = draw()
    found = []
    for module in pair():
        twice = torch.nn.Sequential(module, torch.nn.Tanh(), module)
        twice.weight, twice.bias = module.weight, module.bias
        found.append(run(twice, x, dy))
    for name, theirs in found[0].items():
        torch.testing.assert_close(found[1][name], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_graph_is_kept_only_when_asked_to(training):
    ours = BatchNorm1d(C).train(training)
    x, dy = draw()
    y = ours(x)
    y.backward(dy, retain_graph=True)
    once = [a.grad.clone() for a in (x, ours.weight, ours.bias)]
    y.backward(dy)
    for a, first in zip((x, ours.weight, ours.bias), once, strict=True):
        assert torch.equal(a.grad, 2 * first)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward(dy)


def test_autograd_frees_what_the_backward_pass_needed(monkeypatch):
    refs = []

    def spy(*args, **options):
        y, cache = kernel(*args, **options)
        refs.append(weakref.ref(cache.x_hat))
        return y, cache

    kernel = interop.batch_norm
    monkeypatch.setattr(interop, "batch_norm", spy)
    leaf, dy = draw()
    x = leaf * 1
    refs.append(weakref.ref(x))
    y = BatchNorm1d(C)(x)
    del x
    of_x, x_hat = refs
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


def test_what_is_saved_passes_through_hooks():
    """As for offloading, or checkpoints: autograd is given the large arrays and gives them back."""
    _, ours = pair()
    x, dy = draw()
    expected = run(copy.deepcopy(ours), x, dy)
    packed = []

    def pack(tensor):
        packed.append(tensor.shape)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = run(ours, x, dy)
    assert packed.count(x.shape) == 1
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_parameters_changed_before_the_backward_pass_are_found():
    ours = BatchNorm1d(C)
    x, dy = draw()
    y = ours(x)
    with torch.no_grad():
        ours.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(dy)


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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dy_needs_it", [True, False])
@pytest.mark.parametrize("wanted", ["x", "weight"])
def test_a_second_derivative_is_refused_when_it_is_computed(wanted, dy_needs_it, training):
    _, ours = (m.train(training) for m in pair())
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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, C), (0, C, 3), (4, C, 0)], ids=str)
def test_empty_input_as_in_torch(shape, training):
    theirs, ours = (m.train(training) for m in pair())
    found = [run(m, torch.empty(shape), torch.empty(shape)) for m in (ours, theirs)]
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value)


def test_a_lazy_minus_sign_is_seen():
    z = torch.randn(7, C, dtype=torch.complex64)
    lazy = torch.imag(z.conj())
    assert lazy.is_neg()
    theirs, ours = pair()
    found, expected = run(ours, lazy, lazy), run(theirs, -z.imag, -z.imag)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_a_constant_channel_and_a_large_mean():
    ours = BatchNorm1d(2)
    x = torch.stack([torch.full((8,), 3e5), 1e6 + torch.arange(8.0)], 1)
    y = ours(x)
    assert (y[:, 0] == 0).all()
    expected = (torch.arange(8.0) - 3.5) / (5.25 + 1e-5) ** 0.5
    torch.testing.assert_close(y[:, 1], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.ones(4, 3), {}, r"x has shape \(4, 3\); expected \(N, 5\) or \(N, 5, L\)"),
        (torch.ones(4, 3, 5), {}, r"x has shape \(4, 3, 5\); expected \(N, 5\) or \(N, 5, L\)"),
        (torch.ones(5), {}, r"x has shape \(5,\); expected"),
        (torch.ones(4, 5, 3, 3), {}, r"x has shape \(4, 5, 3, 3\); expected"),
        (torch.ones(4, 5).int(), {}, "x has dtype torch.int32 .*; expected a dense tensor of"),
        (torch.ones(4, 5).bool(), {}, "x has dtype torch.bool"),
        (torch.ones(4, 5) * 1j, {}, "x has dtype torch.complex64"),
        (torch.ones(4, 5).to(torch.float8_e4m3fn), {}, "x has dtype torch.float8_e4m3fn"),
        (torch.ones(4, 5).to_sparse(), {}, "layout torch.sparse_coo; expected a dense"),
        (torch.ones(4, 5, device="meta"), {}, "x lies on meta; expected the CPU or a CUDA device"),
        (torch.ones(1, 5), {}, r"x has shape \(1, 5\), one value a channel; expected at least 2"),
        (torch.ones(1, 5, 1), {}, r"shape \(1, 5, 1\), one value a channel"),
        (torch.ones(4, 5).double(), {}, "weight has dtype torch.float32; expected torch.float64"),
        (
            torch.ones(4, 5).double(),
            {"affine": False},
            "running_mean has dtype torch.float32; expected torch.float64, as x has",
        ),
        (torch.ones(4, 5), {"dtype": torch.float16}, "weight has dtype torch.float16; expected"),
        (torch.ones(4, 5), {"device": "meta"}, "weight lies on meta; expected cpu, as x does"),
        (torch.ones(4, 5), {"momentum": 1.5}, "momentum is 1.5; expected a number from 0 to 1"),
        (torch.ones(4, 5), {"eps": -1.0}, "eps is -1.0; expected"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refusals_are_one_sentence(x, options, message):
    ours = BatchNorm1d(C, **options)
    with pytest.raises(ArgumentError, match=message) as caught:
        ours(x)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")


def test_one_value_a_channel_counts_no_batch_and_evaluates():
    ours = BatchNorm1d(C)
    with pytest.raises(ArgumentError, match="one value a channel"):
        ours(torch.ones(1, C))
    assert int(ours.num_batches_tracked) == 0
    assert ours.eval()(torch.ones(1, C)).shape == (1, C)
    with pytest.raises(ArgumentError, match="one value a channel"):
        BatchNorm1d(C, track_running_stats=False).eval()(torch.ones(1, C))


def test_the_compiler_is_kept_out(monkeypatch):
    kept_out = []
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(torch.compiler, "disable", lambda f: kept_out.append(f) or f)
    x, _ = draw()
    y = BatchNorm1d(C)(x)
    assert [f.__name__ for f in kept_out] == ["_normalise"]
    torch.testing.assert_close(y, torch.nn.BatchNorm1d(C)(x))


def test_the_package_does_without_torch():
    code = (
        "import sys, gpubn.interop, gpubn.backend.streams; "
        "print(*{'torch', 'cupy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_cupy_is_put_on_the_device_and_then_on_the_stream(monkeypatch):
    events = []

    class Context:
        def __init__(self, *what):
            self.what = what

        def __enter__(self):
            events.append(("enter", *self.what))

        def __exit__(self, *_):
            events.append(("exit", *self.what))

    cupy = ModuleType("cupy")
    from_external = lambda owner: Context("stream", owner.__cuda_stream__())  # noqa: E731
    cupy.cuda = SimpleNamespace(
        Device=lambda i: Context("device", i), Stream=SimpleNamespace(from_external=from_external)
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with on_stream(1, 4096):
        events.append("work")
    on, stream = ("device", 1), ("stream", (0, 4096))
    assert events == [
        *(("enter", *on), ("enter", *stream), "work", ("exit", *stream), ("exit", *on))
    ]
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match="need CuPy, which is not installed"), on_stream(0, 0):
        pass


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_fused_kernels(backend, oracle, monkeypatch, dtype, shape, training):
    """As `test_parity`, with the kernels that run on CUDA, here on the CPU."""
    monkeypatch.setattr(interop, "_array", on_device(interop._array))
    own = torch.float64 if dtype == "float64" else torch.float32
    theirs, ours = (m.train(training) for m in pair(dtype=own))
    launched = backend.xp.device.launched
    launched.clear()
    assert_parity(oracle, theirs, ours, 2, lambda: draw(SHAPES[shape], dtype))
    assert launched
    assert all(name.startswith("batch_norm_") for name in launched)


@pytest.mark.parametrize("backend", ["shim"], indirect=True)
def test_fused_kernels_see_input_that_was_changed(backend, monkeypatch):
    """They keep x itself, which autograd has to watch."""
    monkeypatch.setattr(interop, "_array", on_device(interop._array))
    leaf, dy = draw()
    x = leaf * 1
    y = BatchNorm1d(C)(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward(dy)


def on_device(array_of):
    return lambda tensor: None if tensor is None else lift(array_of(tensor))


@gpu
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES.values(), (1000, C), (64, C, 50)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parity_on_cuda(oracle, cuda, dtype, shape, training):
    own = torch.float64 if dtype == "float64" else torch.float32
    theirs, ours = (m.train(training) for m in pair(cuda, own))
    addresses = [b.data_ptr() for b in ours.buffers()]
    for contiguous in (True, False):
        draw_one = functools.partial(draw, shape, dtype, contiguous, cuda)
        assert_parity(oracle, theirs, ours, 2, draw_one)
    assert [b.data_ptr() for b in ours.buffers()] == addresses


@gpu
@pytest.mark.parametrize("dtype", HALF)
def test_autocast_on_cuda(cuda, dtype):
    dtype = getattr(torch, dtype)
    linear = torch.nn.Linear(4, C, device=cuda)
    x = torch.randn(64, 4, device=cuda)
    found = []
    for module in pair(cuda):
        linear.zero_grad()
        with torch.autocast("cuda", dtype):
            h = linear(x)
            y = module(h)
        assert (h.dtype, y.dtype) == (dtype, dtype)
        (y.float() ** 2 * torch.arange(C, device=cuda)).sum().backward()
        found.append((y, module.weight.grad, module.bias.grad, module.running_var))
    for t, o in zip(*found, strict=True):
        torch.testing.assert_close(o, t, rtol=4 * torch.finfo(dtype).eps, atol=1e-2)


@gpu
def test_a_side_stream_orders_the_kernels(cuda):
    """Behind a long kernel: on any other stream the layer would read x before it is written."""
    theirs, ours = pair(cuda)
    value, dy = draw((512, C), device=cuda)
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


@gpu
def test_memory_is_not_given_away_while_it_is_used(cuda):
    """Outputs dropped at once while their stream is behind: the next ones must not overlap them."""
    ours = BatchNorm1d(C, affine=False, track_running_stats=False, device=cuda)
    x = torch.randn(1000, C, device=cuda)
    expected = ours(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        sums = [(ours(x * k) - expected).abs().max() for k in range(1, 20)]
    torch.cuda.synchronize()
    assert max(map(float, sums)) < 1e-3


@gpu
def test_tensors_on_two_devices_are_refused(cuda):
    with pytest.raises(ArgumentError, match="weight lies on cpu; expected cuda"):
        BatchNorm1d(C)(torch.ones(4, C, device=cuda))


def test_beta_starts_at_0_in_torch():
    """What claim B6 calls customary."""
    layer = torch.nn.BatchNorm1d(C)
    assert (layer.weight == 1).all()
    assert (layer.bias == 0).all()
