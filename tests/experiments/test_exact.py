"""The exact checks: they pass on the library, and each fails when what it checks is broken."""

import dataclasses
from functools import partial
from itertools import product

import numpy as np
import pytest

from gpubn import theory
from gpubn.experiments.exact import check_input, checks, experiment
from gpubn.experiments.exact.checks import DIFFERENCES, ROUNDING, SIZES
from tests.experiments.cells import NUMPY, cell, run

CHECKS = {check.__name__: check for check in (*ROUNDING, *DIFFERENCES)}
WITHOUT_TOLERANCE = {size.__name__ for size in SIZES}


make = partial(cell, "exact", "before", dtype="float64", examples=7, features=4, first_seed=5)


def case(mean=0.0, **options):
    config = make(**options)
    return check_input.draw_check_input(config, NUMPY, [5, 6, 7], mean)


def tolerance(name, dtype, examples, mean=0.0):
    eps = float(np.finfo(dtype).eps)
    if CHECKS[name] in DIFFERENCES:
        allowed = theory.central_difference_tolerance(eps)
    else:
        allowed = theory.rounding_tolerance(examples, eps)
    return allowed * max(mean, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("examples", "features"), [(2, 1), (3, 16), (40, 5)])
def test_all_hold(dtype, examples, features):
    rows = run(make(examples=examples, features=features, dtype=dtype))
    expected = {c.__name__ for c in (ROUNDING if dtype == "float32" else ROUNDING + DIFFERENCES)}
    found = {suffix: {} for suffix in ("", "_shifted")}
    for r in rows:
        name = r.metric.removesuffix("_shifted")
        suffix = r.metric.removeprefix(name)
        if name in WITHOUT_TOLERANCE:
            assert not suffix
            continue
        found[suffix][name, r.seed] = r.value
        assert 0 <= r.value <= tolerance(name, dtype, examples, experiment.SHIFT * bool(suffix)), r
    assert {*found[""]} == {*found["_shifted"]} == set(product(expected, (5, 6, 7)))
    assert found[""] != found["_shifted"]


def slip(values):
    """A thousandth of the largest, added in one place of each replica."""
    wrong = values.copy()
    wrong.reshape(len(wrong), -1)[:, -1] += 1e-3 * np.abs(values).max()
    return wrong


def slips_in(index):
    """A kernel with a slip in one of its results."""

    def run(kernel, *args, **options):
        results = list(kernel(*args, **options))
        results[index] = slip(results[index])
        return tuple(results)

    return run


def slips(kernel, *args, **options):
    return slip(kernel(*args, **options))


def keeps_some_eps(kernel, *args, eps=1e-5, **options):
    return kernel(*args, eps=max(eps, 0.01), **options)


def divides_by_n_minus_1(kernel, *args, **options):
    return kernel(*args, correction=1, **options)


def leaves_some_mean(kernel, x, *args, **options):
    """What the cache holds has a mean of a hundredth of that of the input."""
    y, cache = kernel(x, *args, **options)
    rest = 0.01 * (x.mean(axis=-2, keepdims=True) + 1) * cache.inv_std
    return y, cache._replace(x_hat=cache.x_hat + rest)


def keeps_some_mean(kernel, x, *args, **options):
    y, cache = kernel(x, *args, **options)
    return y + 0.01 * x.mean(axis=-2, keepdims=True), cache


def leaks(kernel, x):
    return np.where(x > 0, x, 0.01 * x), x


BACKWARD = {"finite_difference_error", "closed_vs_graph_error"}
NORM, NORM_GRADIENT = "affine_norm_relu_error", "affine_norm_relu_gradient_error"


FAULTS = [
    ("batch_norm", slips_in(0), {"identity_error", "correlation_error"}),
    ("batch_norm", keeps_some_mean, {"unit_mean_error", "bias_output_error", "listing_error"}),
    ("batch_norm", keeps_some_eps, {"scale_invariance_error", "scale_gradient_error"}),
    ("batch_norm", divides_by_n_minus_1, {NORM, "batch_norm_jacobian_error", "unit_var_error"}),
    ("batch_norm", leaves_some_mean, {"mean_path", "centring_jacobian_error"}),
    ("fold_batch_norm", slips_in(0), {"fold_error"}),
    ("fold_batch_norm", slips_in(1), {"fold_error"}),
    ("batch_norm_inference", slips, {"fold_error"}),
    ("batch_norm_backward", slips_in(0), {*BACKWARD, NORM_GRADIENT, "gradient_radial"}),
    ("batch_norm_backward", slips_in(0), {"bias_gradient_error"}),
    ("batch_norm_backward", slips_in(1), BACKWARD),
    ("batch_norm_backward", slips_in(2), BACKWARD),
    ("batch_norm_backward_graph", slips_in(0), {"closed_vs_graph_error"}),
    ("affine_backward", slips_in(0), {NORM_GRADIENT}),
    ("affine_backward", slips_in(1), {NORM_GRADIENT, "gradient_radial"}),
    ("relu", leaks, {NORM, NORM_GRADIENT}),
]


@pytest.mark.parametrize(("kernel", "fault", "caught_by"), FAULTS)
def test_every_check_can_fail(monkeypatch, kernel, fault, caught_by):
    right = {name: CHECKS[name](case()).max() for name in caught_by}
    monkeypatch.setattr(checks, kernel, partial(fault, getattr(checks, kernel)))
    for name in caught_by:
        allowed = tolerance(name, "float64", 7)
        assert right[name] < allowed, name
        assert CHECKS[name](case()).min() > 10 * allowed, name
    assert set().union(*(names for _, _, names in FAULTS)) == set(CHECKS)


def test_sizes_by_hand():
    """One replica at a time: NumPy's correlations, and the listing under Python 2's division."""
    c = case(mean=0.5)
    found = {size.__name__: size(c) for size in SIZES}
    assert set(found) == WITHOUT_TOLERANCE
    for r in range(3):
        h, gamma, beta = c.x[r], c.gamma[r], c.beta[r]
        of_units = np.corrcoef((h @ c.weight[r]).T)
        pairs = of_units[np.triu_indices(len(of_units), 1)]
        assert found["correlation_left"][r] == pytest.approx(np.sqrt(np.mean(pairs**2)), rel=1e-9)
        right = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + c.eps)
        wrong = h / np.sqrt(c.eps)
        size = np.linalg.norm(wrong) / np.linalg.norm(right)
        assert found["floor_division_size"][r] == pytest.approx(size, rel=1e-9)
        error = np.abs(gamma * (wrong - right)).max() / np.abs(gamma * right + beta).max()
        assert found["floor_division_error"][r] == pytest.approx(error, rel=1e-9)


def test_a_nan_is_not_hidden():
    of_nan = dataclasses.replace(case(), x=np.full_like(case().x, np.nan))
    with np.errstate(all="ignore"):
        for name, check in {**CHECKS, **{size.__name__: size for size in SIZES}}.items():
            assert np.isnan(check(of_nan)).all(), name


def test_what_is_drawn():
    c, shifted = case(), case(mean=1000.0)
    np.testing.assert_allclose(shifted.x - 1000, c.x, atol=1e-12)
    assert np.abs([*c.gamma.ravel(), *c.wide_gamma.ravel()]).min() >= check_input.GAMMA_GAP
    arrays = [getattr(c, f.name) for f in dataclasses.fields(c)][2:]
    assert len({a.ravel()[0] for a in arrays}) == len(arrays)
