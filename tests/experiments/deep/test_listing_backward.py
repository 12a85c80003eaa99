"""Document A's backward pass: each fault against the listing's own lines, and what is compared."""

from dataclasses import replace

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.config import ARITHMETICS, Config, DataConfig, InitConfig, ModelConfig, NormConfig
from gpubn.errors import ConfigError
from gpubn.experiments import Context, get
from gpubn.experiments.deep.listing_backward import (
    FAULTS,
    faults_of,
    faulty_norm_backward,
    gradient_differences,
)
from gpubn.experiments.deep.signal_propagation import published_norm, published_norm_backward
from gpubn.nn.rng import generator
from tests.cuda.checkers import check_gradient
from tests.nn.weights import draw_weight

PLACEMENTS = ["before", "after"]
METRICS = {"weight_grad_relative_error", "weight_grad_cosine", "weight_grad_size_ratio"}


def make(placement="before", arithmetic="corrected", **options):
    return Config(
        name="listing_backward",
        data=DataConfig("gaussian", examples=options.pop("examples", 30), features=9),
        model=ModelConfig("deep", 4, options.pop("width", 12), "relu"),
        norm=NormConfig(name=placement, placement=placement, eps=options.pop("eps", 1e-3)),
        init=InitConfig(name="any", kind="normal", std=0.2),
        arithmetic=arithmetic,
        **{"dtype": "float64", "seeds": 3, "first_seed": 5} | options,
    )


def run(config):
    return get("listing_backward").run(config, Context(resolve("numpy")))


def values(rows, metric):
    """{layer: [by seed]}"""
    found = {}
    for r in rows:
        if r.metric == f"weight_grad_{metric}":
            found.setdefault(r.layer, []).append(r.value)
    return found


def listing_norm(v):
    """The listing's lines, (units, examples) as it has them."""
    return (v - np.mean(v, axis=0)) / np.std(v, axis=0)


def listing_norm_backward(dxhat, v, faults):
    """Node by node, (units, examples); the listing's lines where the fault is in."""
    units = len(v)
    c = v - np.mean(v, axis=0)
    var, std = np.var(v, axis=0), np.std(v, axis=0)
    dvar = np.sum(dxhat * c * -0.5 * var**-1.5, axis=0)
    through_mean = dvar * -2 * c / units
    if "mean" not in faults:
        through_mean = through_mean.sum(axis=0)
    dmean = np.sum(dxhat * -1 / std, axis=0) + through_mean
    sign = -1 if "sign" in faults else 1
    return dxhat / std + sign * dvar * 2 * c / units + dmean / units


def drawn(config, seed):
    """Input, weights and upstream gradient, (units, examples)."""
    d, m = config.data, config.model
    sizes = [d.features, *[m.width] * m.depth]
    x = generator(seed, "input").standard_normal((d.examples, d.features))
    w = [
        draw_weight("normal", sizes[i], sizes[i + 1], [seed], i, std=0.2)[0].T
        for i in range(m.depth)
    ]
    return x.T, w, generator(seed, "upstream").standard_normal((d.examples, m.width)).T


def ahead(x, w, placement):
    """What stands before and after each step of the listing's forward pass, a layer at a time."""
    layers, h = [], x
    for weight in w:
        z = weight @ h
        v = listing_norm(z) if placement == "before" else z
        a = np.maximum(0, v)
        layers.append((h, z, v, a))
        h = listing_norm(a) if placement == "after" else a
    return layers, h


def listing(config, seed, faults):
    """Weight gradients by layer, (units, features), by the listing's way back."""
    placement, depth = config.norm.placement, config.model.depth
    x, w, g = drawn(config, seed)
    layers, _ = ahead(x, w, placement)
    found = {depth: np.zeros_like(w[-1])}
    for i in range(depth - ("early" in faults), 0, -1):
        h, z, v, a = layers[i - 1]
        da = listing_norm_backward(g, a, faults) if placement == "after" else g
        dz = da * (v > 0)
        dz = listing_norm_backward(dz, z, faults) if placement == "before" else dz
        found[i] = dz @ h.T
        g = w[i - 1].T @ dz
    return found


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_listing_without_faults_is_the_gradient(rng, placement):
    """Guards the oracle: along random directions, by central differences of the forward pass."""
    config = make(placement, examples=8)
    x, w, g = drawn(config, 5)
    gradients = listing(config, 5, ())
    for i, weight in enumerate(w):
        direction = rng.standard_normal(weight.shape)
        outputs = [
            ahead(x, [*w[:i], weight + step * direction, *w[i + 1 :]], placement)[1]
            for step in (1e-6, -1e-6)
        ]
        slope = np.sum(g * (outputs[0] - outputs[1])) / 2e-6
        assert np.sum(gradients[i + 1] * direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("axes", [(7, 4), (3, 7, 4), (2, 3, 7, 5)], ids=str)
def test_the_gradient_of_the_published_normalisation(rng, axes):
    x = rng.standard_normal(axes)
    check_gradient(
        lambda x: published_norm(x)[0],
        lambda dy: [faulty_norm_backward(())(dy, published_norm(x)[1])],
        (x,),
        rng=rng,
    )


@pytest.mark.parametrize("eps", [0.0, 10.0])
def test_the_forward_pass_knows_no_eps(eps):
    assert run(make("before", "sign", eps=eps)) == run(make("before", "sign"))
    assert "norm.eps" not in get("listing_backward").keys


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_every_number_is_that_of_the_listing(placement, arithmetic):
    config = make(placement, arithmetic)
    faults = {"published": FAULTS, "corrected": ()}.get(arithmetic, (arithmetic,))
    rows = run(config)
    assert {r.metric for r in rows} == METRICS
    assert {r.layer for r in rows} == {1, 2, 3, 4}
    for index, seed in enumerate((5, 6, 7)):
        true, faulty = listing(config, seed, ()), listing(config, seed, faults)
        for layer, g in true.items():
            f = faulty[layer]
            size, true_size = np.linalg.norm(f), np.linalg.norm(g)
            error = np.linalg.norm(f - g) / true_size
            found = {m: values(rows, m)[layer][index] for m in ("relative_error", "size_ratio")}
            assert found == pytest.approx(
                {"relative_error": error, "size_ratio": size / true_size}, rel=1e-8, abs=1e-13
            )
            cosine = np.sum(f * g) / (size * true_size) if size else 0
            assert values(rows, "cosine")[layer][index] == pytest.approx(cosine, abs=1e-12)


@pytest.mark.parametrize("faults", [(), *((fault,) for fault in FAULTS), FAULTS], ids=str)
def test_the_gradient_of_a_normalisation_with_faults(rng, faults):
    x, dy = rng.standard_normal((2, 3, 7, 4))
    _, cache = published_norm(x)
    found = faulty_norm_backward(faults)(dy, cache)
    for replica in range(3):
        expected = listing_norm_backward(dy[replica].T, x[replica].T, faults).T
        np.testing.assert_allclose(found[replica], expected, rtol=1e-11, atol=1e-13)
    right = faulty_norm_backward(())(dy, cache)
    harmless = not set(faults) - {"early"}
    assert np.allclose(found, right, rtol=1e-6, atol=1e-9) == harmless
    # All of them are the document's own lines.
    published = np.allclose(found, published_norm_backward(dy, cache), rtol=1e-9, atol=1e-12)
    assert published == (faults == FAULTS)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_without_a_fault_nothing_differs(placement):
    rows = run(make(placement, "corrected"))
    assert max(max(v) for v in values(rows, "relative_error").values()) < 1e-13
    assert min(min(v) for v in values(rows, "cosine").values()) == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("arithmetic", ["early", "published"])
def test_one_layer_early_the_last_gets_nothing(placement, arithmetic):
    rows = run(make(placement, arithmetic))
    last = {m: values(rows, m)[4] for m in ("relative_error", "cosine", "size_ratio")}
    assert last == {"relative_error": [1] * 3, "cosine": [0] * 3, "size_ratio": [0] * 3}
    assert min(values(rows, "size_ratio")[3]) > 0.1


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("width", [6, 24])
def test_the_unsummed_mean_is_the_wrong_sign_over_twice_the_units(placement, width):
    """In the last layer, which both faults reach with the same gradient from above."""
    unsummed, sign = (
        values(run(make(placement, fault, width=width)), "relative_error")[4]
        for fault in ("mean", "sign")
    )
    np.testing.assert_allclose(unsummed, np.array(sign) / (2 * width), rtol=1e-10)


def test_faults_of_an_arithmetic():
    assert faults_of("published") == FAULTS
    assert faults_of("corrected") == ()
    for fault in FAULTS:
        assert faults_of(fault) == (fault,)
    assert set(ARITHMETICS) == {"published", "corrected", *FAULTS}


def test_what_is_compared():
    true = np.array([[[3.0, 4.0]], [[1.0, 0.0]]])
    found = gradient_differences(2 * true, true)
    np.testing.assert_allclose(found["relative_error"], [1, 1])
    np.testing.assert_allclose(found["cosine"], [1, 1])
    np.testing.assert_allclose(found["size_ratio"], [2, 2])
    np.testing.assert_allclose(gradient_differences(-true, true)["cosine"], [-1, -1])
    turned = np.array([[[-4.0, 3.0]], [[0.0, 5.0]]])
    np.testing.assert_allclose(gradient_differences(turned, true)["cosine"], [0, 0], atol=1e-15)
    assert gradient_differences(0 * true, true)["cosine"].tolist() == [0, 0]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_division_by_zero_of_the_listing_is_recorded(placement):
    # Warnings are errors in this suite, in worker threads too. Zeros have no spread over units.
    config = replace(make(placement, "published"), init=InitConfig(kind="normal", std=0.0))
    rows = run(config)
    assert not np.isfinite(values(rows, "relative_error")[1]).any()
    assert len(rows) == 3 * 4 * 3


def test_one_unit_has_nothing_to_be_normalised_over():
    with pytest.raises(ConfigError, match=r"model\.width is 1; expected at least 2"):
        run(make(width=1))
