"""The layer where Torch traces, compiles, exports or transforms it, against Torch's own."""

import copy
import functools
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: its layer is not tested")

from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from gpubn.errors import ArgumentError  # noqa: E402
from gpubn.interop import torch_operators as operators  # noqa: E402
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

R, N = 3, 7
of_tracking = pytest.mark.parametrize("track", [True, False], ids=["tracking", "plain"])


class Net(torch.nn.Module):
    """A model that contains the layer twice."""

    def __init__(self, layer):
        super().__init__()
        self.first = torch.nn.Linear(C, C)
        self.deep = torch.nn.Sequential(layer, torch.nn.ReLU())
        self.last = copy.deepcopy(layer)

    def forward(self, x):
        return self.last(self.deep(self.first(x)) + x)


def nets(of=Net, **options):
    """A net with Torch's layer and one with ours, alike."""
    theirs, ours = map(of, pair(**options))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def compiled(module, backend="aot_eager", **options):
    torch._dynamo.reset()
    return torch.compile(module, fullgraph=True, backend=backend, **options)


def test_an_ordinary_call_loads_no_compiler():
    done = "import sys, torch; from gpubn.interop.torch import BatchNorm1d as B; " + (
        "x = torch.randn(4, 3); B(3)(x).sum().backward(); B(3).eval()(x).sum().backward(); "
        "sys.exit(any(m.split('.')[0] == 'torch' and m.split('.')[1:2] in (['_dynamo'], "
        "['_inductor']) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", done]).returncode == 0


@both_modes
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_compiled_layer(options, training):
    theirs, ours = pair(training=training, **options)
    assert_parity(theirs, ours, 2, draw, compiled(ours))


@both_modes
@of_every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_compiled_layer_of_every_kind(dtype, shape, training):
    own = torch.float64 if dtype == "float64" else torch.float32
    theirs, ours = pair(dtype=own, training=training, affine=shape != "(1, C, L)")
    draw_one = functools.partial(draw, SHAPES[shape], dtype)
    assert_parity(theirs, ours, 2, draw_one, compiled(ours, "eager"))


@both_modes
def test_half_precision_is_compiled_as_well(training):
    theirs, ours = pair(dtype=torch.bfloat16, training=training)
    assert_parity(theirs, ours, 2, functools.partial(draw, dtype="bfloat16"), compiled(ours))


@both_modes
def test_one_graph_of_our_operators_serves_every_batch(training):
    def backend(graph, inputs):
        graphs.append([node.target for node in graph.graph.nodes])
        return graph

    graphs = []
    theirs, ours = pair(training=training)
    call = compiled(ours, backend, dynamic=True)
    for n in (7, 9, 12):
        assert_parity(theirs, ours, 1, functools.partial(draw, (n, C)), call)
    (targets,) = graphs
    name = "batch_norm" if training else "batch_norm_inference"
    assert getattr(torch.ops.gpubn, name).default in targets


@both_modes
def test_statistics_between_compiled_passes(training):
    """A pass of training between the two halves of another leaves its gradient alone."""
    _, ours = pair(training=training)
    x, dy = draw()
    expected = run(copy.deepcopy(ours), x, dy)
    y = compiled(ours)(x)
    ours.train()(3 * x.detach())
    ours.zero_grad()
    y.backward(dy)
    torch.testing.assert_close(x.grad, expected["dx"])


def ensemble(training, **options):
    """Networks with Torch's layer; one with ours, and the stacked state of as many."""
    both = [nets(training=training, **options) for _ in range(R)]
    theirs, ours = zip(*((t.double(), o.double()) for t, o in both), strict=True)
    return theirs, ours[0], stack_module_state(ours)


@pytest.fixture
def calls(monkeypatch):
    """The shapes with which the kernels are called."""

    def spy(name, kernel):
        def call(first, *args, **options):
            seen.append((name, first.shape))
            return kernel(first, *args, **options)

        return call

    seen = []
    for name in ("batch_norm", "batch_norm_backward", "batch_norm_inference"):
        monkeypatch.setattr(operators.kernels, name, spy(name, getattr(operators.kernels, name)))
    return seen


@both_modes
@pytest.mark.parametrize("mapped", [0, 1, None], ids=["first", "second", "shared"])
@pytest.mark.parametrize("options", [*OPTIONS[:2], OPTIONS[4], {"affine": False}], ids=str)
def test_an_ensemble_is_a_batch_of_replicas(options, mapped, training, calls):
    theirs, ours, (parameters, buffers) = ensemble(training, **options)
    x = torch.randn(R, N, C, dtype=torch.float64)
    x, given = (x[0].expand(R, N, C), x[0]) if mapped is None else (x, x.movedim(0, mapped))
    dy = torch.randn(N, C, dtype=torch.float64)

    def loss(parameters, buffers, x):
        y = functional_call(ours, (parameters, buffers), (x,))
        return (y * dy).sum(), y

    gradients, y = vmap(grad(loss, has_aux=True), in_dims=(0, 0, mapped))(
        parameters, buffers, given
    )
    if training:
        assert set(calls) == {
            ("batch_norm", (R, N, C)),
            ("batch_norm_backward", (R, N, C)),
        }
        assert len(calls) == 4  # two layers
    for r, net in enumerate(theirs):
        (net(x[r]) * dy).sum().backward()
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(gradients[name][r], parameter.grad, rtol=1e-7, atol=1e-9)
        for name, buffer in net.named_buffers():
            torch.testing.assert_close(buffers[name][r], buffer)
    assert not any(buffer.requires_grad for buffer in buffers.values())
    again = vmap(functional_call, in_dims=(None, 0, mapped))(ours, (parameters, buffers), given)
    torch.testing.assert_close(again, y)


@both_modes
def test_transforms_of_other_kinds(training):
    """Each against the same transform of Torch's own layer."""
    x = torch.randn(R, N, C, dtype=torch.float64)
    deep = torch.randn(2, N, R, C, dtype=torch.float64)
    cases = {
        "grad": lambda m: grad(lambda x: (m(x) ** 3).sum())(x[0]),
        "jacrev": lambda m: jacrev(m)(x[0]),
        "mapped twice": lambda m: vmap(vmap(m, in_dims=1, out_dims=1))(deep),
        "not mapped": lambda m: vmap(lambda z: m(x[0]) * z)(torch.arange(3.0)),
        "sequences": lambda m: vmap(m)(deep.movedim(2, 3)),
        "per example": lambda m: vmap(grad(lambda x: (m(x) ** 3).sum()))(x),
    }
    theirs, ours = pair(dtype=torch.float64, training=training, track_running_stats=not training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Torch's own has no rule in evaluation
        for name, transformed in cases.items():
            torch.testing.assert_close(transformed(ours), transformed(theirs), msg=name)


@both_modes
def test_a_compiled_ensemble_is_torchs_own(training):
    """The compiler differentiates no operator within a transform."""
    theirs, ours, (parameters, buffers) = ensemble(training, of=lambda layer: layer)
    x = torch.randn(R, N, C, dtype=torch.float64)

    def loss(parameters, buffers, x):
        return (functional_call(ours, (parameters, buffers), (x,)) ** 3).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradients = compiled(vmap(grad(loss)))(parameters, buffers, x)
    for r, net in enumerate(theirs):
        (net(x[r]) ** 3).sum().backward()
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(gradients[name][r], parameter.grad, rtol=1e-7, atol=1e-9)
        for name, buffer in net.named_buffers():
            torch.testing.assert_close(buffers[name][r], buffer)


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_statistics_that_are_not_mapped_are_refused(name):
    ours = BatchNorm1d(C)
    buffers = {n: b.expand(R, *b.shape).clone() for n, b in ours.named_buffers() if n != name}
    before = copy.deepcopy(ours.state_dict())
    with pytest.raises(ArgumentError, match=f"^vmap maps x, but not {name}, which") as caught:
        vmap(lambda b, x: functional_call(ours, b, (x,)))(buffers, torch.randn(R, N, C))
    assert "\n" not in str(caught.value)
    with pytest.raises(ArgumentError, match=r"^vmap maps x, but not running_mean"):
        vmap(ours)(torch.randn(R, N, C))
    for key, value in before.items():
        assert torch.equal(ours.state_dict()[key], value)
    assert not buffers["num_batches_tracked"].any()


def test_a_captured_layer_that_trains_is_refused_as_torch_refuses_it():
    for module in pair():
        with pytest.raises(RuntimeError, match="would mutate a captured Tensor"):
            grad(lambda x, module=module: module(x).sum())(torch.randn(N, C))
        assert int(module.num_batches_tracked) == 0


@both_modes
def test_a_second_derivative_is_refused_in_transforms(training):
    ours = BatchNorm1d(C, track_running_stats=not training).train(training)
    inner = grad(lambda x: (ours(x) ** 3).sum())
    with pytest.raises(ArgumentError, match="expected a first derivative"):
        grad(lambda x: inner(x).sum())(torch.randn(N, C))


@both_modes
@of_every_shape
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("fake", [True, False], ids=["fake", "meta"])
def test_shapes_alone(fake, dtype, shape, training, calls):
    device = "cpu" if fake else "meta"
    with FakeTensorMode() if fake else torch.device("meta"):
        for options in OPTIONS:
            if training and options["track_running_stats"] and options["momentum"] is None:
                continue  # Torch's own asks for the number of batches
            options = {"dtype": getattr(torch, dtype), "device": device, **options}
            kinds = torch.nn.BatchNorm1d, BatchNorm1d
            theirs, ours = (kind(C, **options).train(training) for kind in kinds)
            x, dy = draw(SHAPES[shape], dtype, device=device)
            found, expected = (run(module, x, dy) for module in (ours, theirs))
            assert found.keys() == expected.keys()
            for name, t in expected.items():
                o = found[name]
                assert (o.dtype, o.shape, o.device) == (t.dtype, t.shape, t.device), name
            assert found["y"].is_contiguous()
    assert not calls  # of the kernels


TRACED = {
    r"x has shape \(4, 3\); expected \(N, 5\) or \(N, 5, L\)": ((4, 3), {}),
    r"x has shape \(1, 5\), one value a channel": ((1, C), {}),
    "momentum is -0.1; expected a number from 0 to 1": ((4, C), {"momentum": -0.1}),
    "weight has dtype torch.float64; expected torch.float32": ((4, C), {"dtype": torch.float64}),
}


@pytest.mark.parametrize("message", TRACED)
def test_what_is_traced_is_checked(message):
    shape, options = TRACED[message]
    with pytest.raises(ArgumentError, match=message):
        BatchNorm1d(C, device="meta", **options)(torch.ones(shape, device="meta"))


def test_other_devices_are_refused():
    with FakeTensorMode(), pytest.raises(ArgumentError, match=r"x lies on xpu.*; expected the CPU"):
        BatchNorm1d(C)(torch.empty(4, C, device="xpu"))


@both_modes
def test_symbolic_trace_takes_the_layer_for_a_leaf(training):
    theirs, ours = nets(training=training)
    traced = torch.fx.symbolic_trace(ours)
    leaves = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert leaves == ["first", "deep.0", "deep.1", "last"]
    x = torch.randn(N, C)
    torch.testing.assert_close(torch.fx.symbolic_trace(traced)(x), theirs(x))
    counted = traced.get_submodule("deep.0").num_batches_tracked
    assert int(counted) == int(theirs.last.num_batches_tracked)


def test_symbolic_trace_of_the_layer_itself_fails_as_torchs_own():
    for module in pair():
        with pytest.raises(torch.fx.proxy.TraceError):
            torch.fx.symbolic_trace(module)


@both_modes
@of_tracking
def test_a_graph_of_tensors_calls_our_operators(track, training):
    """What make_fx records is no constant: other inputs give other results."""
    theirs, ours = pair(training=training, track_running_stats=track)
    x, other = torch.randn(2, N, C)
    traced = make_fx(ours)(x)
    assert any("gpubn" in str(node.target) for node in traced.graph.nodes)
    torch.testing.assert_close(traced(other), theirs(other))


@both_modes
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "traced"])
def test_export_is_portable(strict, training):
    theirs, ours = nets(training=training)
    program = torch.export.export(ours, (torch.randn(N, C),), strict=strict)
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count("aten.batch_norm.default") == 2
    assert not any("gpubn" in target for target in targets)
    module, x = program.module(), torch.randn(N, C)
    torch.testing.assert_close(module(x), theirs(x))
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(buffer, theirs.get_buffer(name))


def test_script_tracing_is_portable():
    theirs, ours = nets(training=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(ours, torch.randn(N, C))
        x = torch.randn(4, C)
        torch.testing.assert_close(traced(x), theirs(x))
    assert "aten::batch_norm" in str(traced.inlined_graph)


def test_onnx(tmp_path):
    pytest.importorskip("onnxscript", reason="no ONNX exporter is installed")
    from onnx.reference import ReferenceEvaluator

    theirs, ours = nets(training=False)
    x = torch.randn(N, C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(ours, (x,), dynamo=True)
    program.save(str(tmp_path / "net.onnx"))
    evaluator = ReferenceEvaluator(str(tmp_path / "net.onnx"))
    assert "BatchNormalization" in {node.op_type for node in evaluator.proto_.graph.node}
    (y,) = evaluator.run(None, {evaluator.input_names[0]: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), theirs(x).detach(), rtol=1e-4, atol=1e-5)
