"""Every kind of normalisation against its formula, and what all kinds have in common."""

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from gpubn import extensions
from gpubn.config import NormConfig
from gpubn.errors import ConfigError
from gpubn.nn.norms import KINDS, check_norm, make_norm, norm_definition
from gpubn.nn.norms.base import Norm, Site
from gpubn.nn.rng import generator
from tests.cuda.checkers import check_gradient
from tests.nn.networks import shake

GHOST = {"ghost": {"ghost": 2}}
every_kind = pytest.mark.parametrize("kind", KINDS)
EPS = (0.01, 0.3)
"""One a replica."""


def configs(kind, replicas=2, **options):
    """One a replica; an option that is a tuple has one number a replica."""
    return [
        NormConfig(
            *("mine", "before", kind),
            **GHOST.get(kind, {}),
            **{name: v[r] if isinstance(v, tuple) else v for name, v in options.items()},
        )
        for r in range(replicas)
    ]


def make(backend, kind, units, seeds=(4, 0), number=3, dtype="float64", **options):
    return make_norm(
        configs(kind, len(seeds), **options), Site(seeds, units, number, backend, dtype)
    )


# Formulas -----------------------------------------------------------------------------------------


def less_mean(x, axis):
    return x - x.mean(axis=axis, keepdims=True)


def over_std(x, c, eps, dof):
    return x / np.sqrt((c**2).sum(axis=0) / dof + eps)


def whole(x, eps, dof):
    return over_std(less_mean(x, 0), less_mean(x, 0), eps, dof)


FORMULAS = {
    "batch": whole,
    "noisy": whole,
    "ghost": lambda x, eps, dof: np.concatenate(
        [whole(x[i : i + 2], eps, 2 - (len(x) - dof)) for i in range(0, len(x), 2)]
    ),
    "mean_only": lambda x, eps, dof: less_mean(x, 0),
    "variance_only": lambda x, eps, dof: over_std(x, less_mean(x, 0), eps, dof),
    "layer": lambda x, eps, dof: (
        less_mean(x, 1) / np.sqrt((less_mean(x, 1) ** 2).mean(axis=1, keepdims=True) + eps)
    ),
    "rms": lambda x, eps, dof: x / np.sqrt((x**2).mean(axis=1, keepdims=True) + eps),
}
"""Of one replica in training, x (N, D), without gamma and beta."""
INFERENCE = {
    "mean_only": lambda x, mean, var, eps: x - mean,
    "variance_only": lambda x, mean, var, eps: x / np.sqrt(var + eps),
    "layer": lambda x, mean, var, eps: FORMULAS["layer"](x, eps, None),
    "rms": lambda x, mean, var, eps: FORMULAS["rms"](x, eps, None),
}


def noise(seed, number, units, shift=0.5, scale=0.25, *, at=None):
    """Factor and shift of a pass by its number, or beyond what is prepared."""
    if at is None:
        drawn = generator(seed, "norm noise", number, "untracked").random((2, units), np.float32)
    else:
        drawn = generator(seed, "norm noise", number).random((at + 1, 2, units), np.float32)[at]
    drawn = drawn.astype(np.float64)
    return 1 + scale * drawn[0], shift * (2 * drawn[1] - 1)


def training_pass(layer, kind, r, x, params, *, seed=(4, 0), eps=EPS, correction=0, number=3):
    """Output of replica r, in complex numbers where its input is."""
    y = FORMULAS[kind](x, eps[r], len(x) - correction)
    y = y * params.get("gamma", 1) + params.get("beta", 0)
    if kind == "noisy":
        factor, shift = noise(seed[r], number, x.shape[1])
        y = y * factor + shift
    return y


CASES = {
    "usual": lambda rng: rng.standard_normal((2, 6, 3)) * [1, 3, 0.2] + [0, 2, -1],
    "two examples": lambda rng: rng.standard_normal((2, 2, 4)),
    "one unit": lambda rng: rng.standard_normal((2, 4, 1)),
    "constant columns": lambda rng: np.tile(rng.standard_normal((2, 1, 3)), (1, 4, 1)),
    "constant rows": lambda rng: np.tile(rng.standard_normal((2, 4, 1)), (1, 1, 3)),
    "zeros": lambda rng: np.zeros((2, 4, 3)),
    "a large mean": lambda rng: rng.standard_normal((2, 6, 3)) + 1e4,
}


@every_kind
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "near"), [("float32", 2e-5), ("float64", 1e-12)])
def test_a_training_pass_and_its_gradients_are_those_of_the_formula(
    backend, rng, kind, case, dtype, near
):
    """Gradients of the formula by complex differentiation, one number after the other."""
    x = CASES[case](rng).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    layer = make(backend, kind, x.shape[2], dtype=dtype, eps=EPS)
    shake([layer], backend, rng)
    y, cache = layer.forward(backend.asarray(x), training=True, track=False)
    dx, gradients = layer.backward(backend.asarray(dy), cache, need_dx=True)
    assert (
        [*gradients] == [*layer.params] == (["beta"] if kind == "mean_only" else ["gamma", "beta"])
    )
    found = {"y": y, "dx": dx, **gradients}
    found = {name: backend.to_host(array) for name, array in found.items()}
    assert {str(array.dtype) for array in found.values()} == {dtype}
    for r in range(2):
        params = {
            name: backend.to_host(p)[r].astype(np.longdouble) for name, p in layer.params.items()
        }
        arrays = {"dx": x[r].astype(np.longdouble)} | params

        def output(arrays, r=r):
            return training_pass(layer, kind, r, arrays["dx"], arrays)

        right = output(arrays)
        size = np.abs(right).max() + 1
        np.testing.assert_allclose(found["y"][r], right, rtol=0, atol=near * size)
        for name, array in arrays.items():
            slope = np.empty_like(array)
            for at in np.ndindex(array.shape):
                moved = array.astype(np.clongdouble)
                moved[at] += 1e-30j
                slope[at] = (dy[r] * output(arrays | {name: moved})).sum().imag / 1e-30
            # Each is a sum over examples or units of terms of this size.
            scale = np.abs(slope).max() + np.abs(dy[r]).sum() * (size if name == "gamma" else 1)
            scale *= 1 / EPS[r] ** 0.5 if name == "dx" and kind != "mean_only" else 1
            np.testing.assert_allclose(found[name][r], slope, rtol=0, atol=near * scale)


@every_kind
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("shape", [(2, 6, 3), (2, 4, 1), (2, 2, 5)])
def test_gradients_are_those_of_finite_differences(backend, xp, rng, kind, shape, correction):
    layer = make(backend, kind, shape[2], correction=correction)
    names, x = [*layer.params], backend.asarray(rng.standard_normal(shape))
    start = [p + backend.asarray(rng.uniform(-0.5, 0.5, p.shape)) for p in layer.params.values()]

    def run(x, *params):
        layer.params = dict(zip(names, params, strict=True))
        return layer.forward(x, training=True, track=False)

    # The gradient may be nearly 0 as a whole, as of two examples or of one unit: beside that of x
    # itself its error is measured against 1.
    def vjp(dy):
        dx, gradients = layer.backward(dy, run(x, *start)[1], need_dx=True)
        return [dx + dy, *gradients.values()]

    check_gradient(lambda x, *p: run(x, *p)[0] + x, vjp, [x, *start], rng=rng, eps=1e-4, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "x"),
    [
        ("layer", [[3.0, 3.0], [-1e6, -1e6]]),
        ("rms", [[0.0, 0.0], [0.0, 0.0]]),
        ("variance_only", [[2.0, -7.0], [2.0, -7.0]]),
        ("batch", [[2.0, -7.0], [2.0, -7.0]]),
        ("noisy", [[2.0, -7.0], [2.0, -7.0]]),
        ("mean_only", [[2.0, -7.0], [2.0, -7.0]]),
    ],
)
def test_without_eps_what_does_not_vary_comes_out_as_beta_and_has_a_gradient(backend, kind, x):
    options = {"eps": 0.0, "noise_shift": 0.0, "noise_scale": 0.0, "dtype": "float32"}
    layer = make(backend, kind, 2, initial_beta=(0.25, -1.5), **options)
    both = backend.asarray(np.array([x, x], np.float32))
    y, cache = layer.forward(both, training=True, track=False)
    assert backend.to_host(y).tolist() == [[[0.25] * 2] * 2, [[-1.5] * 2] * 2]
    dx, _ = layer.backward(y, cache, need_dx=True)
    assert np.isfinite(backend.to_host(dx)).all()


# What inference uses ------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(("average", "correction"), [("var", 0), ("std", 1), ("var", 1)])
def test_inference_is_by_the_running_averages_where_there_are_any(
    backend, rng, kind, average, correction
):
    options = {"average": average, "correction": correction, "momentum": (0.1, 0.75)}
    options |= {"initial_spread": (1.0, 3.0), "eps": EPS, "initial_beta": 0.5}
    layer, spread = make(backend, kind, 3, **options), {"var": 2, "std": 1}[average]
    averages = {"mean_only": ["mean"], "variance_only": ["spread"], "layer": [], "rms": []}
    assert [*layer.running] == averages.get(kind, ["mean", "spread"])
    mean, running = np.zeros((2, 3)), np.ones((2, 3)) * [[1.0], [3.0]]
    weight, groups = np.array([[0.1], [0.75]]), 3 if kind == "ghost" else 1
    for step in range(3):
        x = rng.standard_normal((2, 6, 3)) * [1, 2, 3] + step
        layer.forward(backend.asarray(x), training=True, track=True)
        layer.forward(backend.asarray(x + 9), training=True, track=False)
        parts = x.reshape(2, groups, -1, 3)
        new = parts.std(axis=2, ddof=correction) if spread == 1 else parts.var(axis=2, ddof=1)
        mean += weight * (parts.mean(axis=2).mean(axis=1) - mean)
        running += weight * (new.mean(axis=1) - running)
    for name, average in layer.running.items():
        expected = {"mean": mean, "spread": running}[name]
        np.testing.assert_allclose(backend.to_host(average), expected, rtol=1e-12, atol=1e-13)
    shake([layer], backend, rng)
    x = rng.standard_normal((2, 5, 3))
    usual = lambda x, mean, var, eps: (x - mean) / np.sqrt(var + eps)  # noqa: E731
    formula = INFERENCE.get(kind, usual)

    def expect(mean, var):
        y, _ = layer.forward(backend.asarray(x), training=False, track=True)
        for r in range(2):
            params = {name: backend.to_host(p)[r] for name, p in layer.params.items()}
            right = formula(x[r], mean[r], var[r], EPS[r])
            right = right * params.get("gamma", 1) + params["beta"]
            np.testing.assert_allclose(backend.to_host(y)[r], right, rtol=1e-11, atol=1e-12)

    expect(mean, running ** (2 // spread))
    given = rng.standard_normal((2, 3)), rng.uniform(1, 2, (2, 3))
    layer.set_statistics(*map(backend.asarray, given))
    expect(*given)


# Replicas -----------------------------------------------------------------------------------------

PER_REPLICA = {
    "eps": (1e-5, 0.0, 0.3),
    "momentum": (0.1, 1.0, 0.25),
    "initial_spread": (1.0, 0.5, 4.0),
    "initial_beta": (0.0, 1.0, -0.5),
    "noise_shift": (0.5, 0.0, 2.0),
    "noise_scale": (0.25, 1.0, 0.0),
}
SEEDS = (4, 0, 4)


@every_kind
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize(("dtype", "units"), [("float32", 5), ("float64", 5), ("float64", 1)])
def test_replicas_have_the_bits_that_they_have_alone_and_in_a_part(
    backend, same_bits, rng, kind, dtype, units, learnable
):
    build = partial(make, backend, kind, units, dtype=dtype, learnable=learnable)
    together, alone = build(SEEDS, **PER_REPLICA), []
    for r, seed in enumerate(SEEDS):
        of_replica = {name: (values[r],) for name, values in PER_REPLICA.items()}
        alone.append((slice(r, r + 1), build((seed,), **of_replica)))
    for layer in (together, *(one for _, one in alone)):
        layer.prepare(2)
    part = slice(1, 3), together.select(slice(1, 3))

    def results(layer, x, dy, track):
        y, cache = layer.forward(x, training=True, track=track)
        dx, gradients = layer.backward(dy, cache, need_dx=True)
        assert [*gradients] == [*layer.params]
        inferred, _ = layer.forward(x, training=False, track=False)
        return [y, dx, *gradients.values(), inferred, *layer.running.values()]

    for track in (False, True, True, False):
        x, dy = (backend.asarray(rng.standard_normal((3, 6, units)).astype(dtype)) for _ in "12")
        of_all = results(together, x, dy, track)
        for here, layer in alone if track else [*alone, part]:
            for found, right in zip(of_all, results(layer, x[here], dy[here], track), strict=True):
                same_bits(found[here], right)


# Noise --------------------------------------------------------------------------------------------


def normalised(backend, layer, x, r):
    """Of replica r, before any noise."""
    params = {name: backend.to_host(p)[r] for name, p in layer.params.items()}
    return FORMULAS["noisy"](x[r], 1e-5, x.shape[1]) * params["gamma"] + params["beta"]


@pytest.mark.parametrize("prepared", [(4,), (1, 3), (9,)], ids=str)
def test_noise_depends_on_seed_layer_and_step_alone(backend, rng, prepared):
    sizes = {"noise_shift": (0.5, 2.0, 0.0), "noise_scale": (0.25, 0.0, 1.0)}
    layer = make(backend, "noisy", 3, SEEDS, number=7, **sizes)
    shake([layer], backend, rng)
    for steps in prepared:
        layer.prepare(steps)

    def check(at, track):
        x = rng.standard_normal((3, 6, 3))
        y, cache = layer.forward(backend.asarray(x), training=True, track=track)
        for r, seed in enumerate(SEEDS):
            bounds = {"shift": sizes["noise_shift"][r], "scale": sizes["noise_scale"][r]}
            scale, shift = noise(seed, 7, 3, **bounds, at=at)
            right = normalised(backend, layer, x, r) * scale + shift
            np.testing.assert_allclose(backend.to_host(y)[r], right, rtol=1e-9, atol=1e-9)
        statistics = layer.batch_statistics(cache)
        np.testing.assert_allclose(backend.to_host(statistics.var), x.var(axis=1), rtol=1e-9)
        np.testing.assert_allclose(backend.to_host(statistics.mean), x.mean(axis=1), atol=1e-9)
        assert statistics.dof == 6

    for at in range(sum(prepared)):
        check(at, track=False)  # what the next tracked pass will see
        check(at, track=True)
    check(None, track=True)  # nothing is prepared any more


def test_noise_lies_within_its_bounds_and_fills_them(backend):
    layer = make(backend, "noisy", 500, (1,), noise_shift=0.5, noise_scale=0.25)
    layer.prepare(2)
    x = np.stack([np.r_[-np.ones((1, 500)), np.ones((1, 500))]])
    found = []
    for _ in range(2):
        y = backend.to_host(layer.forward(backend.asarray(x), training=True, track=True)[0])[0]
        found.append((y.mean(axis=0), (y[1] - y[0]) / 2))
    for shift, scale in found:
        assert -0.5 <= shift.min() < -0.49 < 0.49 < shift.max() <= 0.5
        assert 1 - 1e-4 <= scale.min() < 1.01 < 1.24 < scale.max() <= 1.25
        assert abs(np.corrcoef(shift, scale)[0, 1]) < 0.2
    assert abs(np.corrcoef(found[0][0], found[1][0])[0, 1]) < 0.2


# The registry, and what is refused ----------------------------------------------------------------


def test_an_unknown_kind_is_refused_and_that_of_an_extension_taken(monkeypatch, backend, rng):
    kinds = "batch, ghost, noisy, mean_only, variance_only, layer, rms"
    for unknown in (lambda n: check_norm(n, 8), norm_definition):
        with pytest.raises(ConfigError, match=f"^norm.kind is 'lyer'; expected one of {kinds}$"):
            unknown(NormConfig("lyer", "none", "lyer"))

    class Doubled(Norm):
        parameters = ("beta",)

        def forward(self, x, *, training, track):
            return self._scale_shift(2 * x), None

    Doubled.__module__ = "mine"
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(Doubled=Doubled))
    monkeypatch.setattr(extensions, "declared", {"NORMS": {"doubled": Doubled}}.get)
    check_norm(NormConfig("mine", "before", "doubled"), 1)
    layer = make_norm(
        [NormConfig(kind="doubled", initial_beta=1.0)], Site((0,), 2, 1, backend, "float64")
    )
    x = rng.standard_normal((1, 3, 2))
    y, _ = layer.forward(backend.asarray(x), training=True, track=True)
    np.testing.assert_allclose(backend.to_host(y), 2 * x + 1, rtol=1e-15)


@pytest.mark.parametrize(
    ("options", "batch", "sentence"),
    [
        *(
            ({"kind": kind}, 1, "optim.batch is 1; expected at least 2, which norm=mine needs")
            for kind in ("batch", "noisy", "mean_only", "variance_only")
        ),
        *(
            (
                {"kind": "ghost", "ghost": g},
                n,
                rf"norm.ghost is {g}; expected a divisor of optim.ba",
            )
            for n, g in ((32, 5), (32, 64), (30, 4), (2, 3), (32, 0))
        ),
        ({"ghost": 8}, 32, "norm.ghost is 8; expected 0, as norm.kind=batch has no groups"),
        (
            {"kind": "layer", "ghost": 4},
            32,
            "norm.ghost is 4; expected 0, as norm.kind=layer has",
        ),
    ],
)
def test_a_kind_refuses_what_it_cannot_do(options, batch, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        check_norm(NormConfig("mine", "after", **options), batch)
    check_norm(NormConfig("mine", "none", **options), batch)  # nothing is normalised


@pytest.mark.parametrize(("batch", "options"), [(1, {"kind": "layer"}), (1, {"kind": "rms"})])
def test_a_kind_takes_what_it_can(batch, options):
    check_norm(NormConfig("mine", "before", **options), batch)
    for n, ghost in ((32, 2), (32, 16), (32, 32), (6, 3)):
        check_norm(NormConfig("mine", "before", "ghost", ghost=ghost), n)
