"""Our layer beside PyTorch's: the same state, the same call, and how near the results must be."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: its layer is not tested")

from gpubn.interop.torch import BatchNorm1d  # noqa: E402

C = 5
SHAPES = {"(N, C)": (7, C), "(N, C, L)": (4, C, 3), "(1, C, L)": (1, C, 6)}
OPTIONS = [
    {"track_running_stats": track, "momentum": momentum, "eps": eps}
    for track, momentum, eps in (
        *((True, None, 1e-5), (True, 0.1, 1.0), (True, 1.0, 1e-3), (True, 0.0, 1e-5)),
        *((False, None, 1e-5), (False, 0.1, 1.0)),
    )
]
both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
of_every_shape = pytest.mark.parametrize("shape", SHAPES)


def pair(device="cpu", dtype=torch.float32, *, training=True, **options):
    """Torch's layer and ours, with the same parameters and statistics."""
    theirs, ours = torch.nn.BatchNorm1d(C, **options), BatchNorm1d(C, **options)
    with torch.no_grad():
        for tensor in (*theirs.parameters(), theirs.running_mean, theirs.running_var):
            if tensor is not None:
                tensor.uniform_(0.5, 2)
    ours.load_state_dict(theirs.state_dict())
    return tuple(module.to(device, dtype).train(training) for module in (theirs, ours))


def draw(shape=(7, C), dtype="float32", contiguous=True, device="cpu"):
    """x and dy: a leaf that needs a gradient, and the gradient of its output."""
    dtype = getattr(torch, dtype)
    x, dy = (2 * torch.randn(shape, device=device).to(dtype) + 1 for _ in range(2))
    if not contiguous:
        x, dy = (a.repeat_interleave(2, dim=1)[:, ::2] for a in (x, dy))
        assert not x.is_contiguous()
    return x.requires_grad_(), dy


def run(module, x, dy, call=None):
    """One step: everything that comes out of it. `call` is in place of the module's own."""
    x = x.detach().requires_grad_()
    module.zero_grad()
    y = module(x) if call is None else call(x)
    y.backward(dy)
    found = {"y": y.detach(), "dx": x.grad}
    found |= {f"d{name}": p.grad.clone() for name, p in module.named_parameters()}
    return found | {name: buffer.clone() for name, buffer in module.named_buffers()}


def assert_parity(theirs, ours, steps, draw_one, call=None):
    """Step after step, all that comes out is of Torch's kind, and as near to it in float64."""
    right = copy.deepcopy(theirs).double()
    for _ in range(steps):
        x, dy = draw_one()
        found, expected = run(ours, x, dy, call), run(theirs, x, dy)
        exact = run(right, x.double(), dy.double())
        assert found.keys() == expected.keys()
        for name, o in found.items():
            t = expected[name]
            assert (o.dtype, o.shape, o.device) == (t.dtype, t.shape, t.device), name
            gaps = [float((a.double() - exact[name]).abs().max()) for a in (o, t)]
            # Half precision is computed in float32, and rounded when it is stored.
            eps = 64 * torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps
            eps += torch.finfo(o.dtype).eps if o.dtype.itemsize == 2 else 0
            size = max(1.0, float(exact[name].abs().max()))
            assert gaps[0] <= 4 * gaps[1] + eps * size, (name, gaps)
        assert found["y"].is_contiguous()
