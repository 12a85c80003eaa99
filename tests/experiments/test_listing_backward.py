"""Document A's backward pass: each fault against the listing's own lines, and what is compared."""

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.experiments import Context, get, listing_backward
from gpubn.experiments.listing_backward import FAULTS, compare, faults_of, faulty_norm_backward
from gpubn.init import draw_weight
from gpubn.kernels import batch_norm, batch_norm_backward
from gpubn.rng import generator
from gpubn.schema import ARITHMETICS, Config, DataConfig, InitConfig, ModelConfig, NormConfig

PLACEMENTS = ["before", "after"]
METRICS = {"weight_grad_relative_error", "weight_grad_cosine", "weight_grad_size_ratio"}


def make(placement="before", arithmetic="corrected", **options):
    return Config(
        name="listing_backward",
        data=DataConfig("gaussian", examples=options.pop("examples", 30), features=9),
        model=ModelConfig("deep", 4, 12, "relu"),
        norm=NormConfig(name=placement, placement=placement, eps=options.pop("eps", 1e-3)),
        init=InitConfig(name="any", kind="normal", std=0.2),
        arithmetic=arithmetic,
        **{"dtype": "float64", "seeds": 3, "first_seed": 5} | options,
    )


def run(config, tick=None):
    return get("listing_backward").run(config, Context(resolve("numpy"), tick=tick))


def values(rows, metric):
    """{layer: [by seed]}"""
    found = {}
    for r in rows:
        if r.metric == f"weight_grad_{metric}":
            found.setdefault(r.layer, []).append(r.value)
    return found


def listing_norm_backward(dy, v, eps, faults):
    """Node by node, (examples, units); the listing's lines where the fault is in."""
    n = len(v)
    c = v - v.mean(axis=0)
    std = np.sqrt(v.var(axis=0) + (0 if "no_eps" in faults else eps))
    dvar = np.sum(dy * c * -0.5 * std**-3, axis=0)
    through_mean = dvar * -2 * c / n
    if "mean" not in faults:
        through_mean = through_mean.sum(axis=0)
    dmean = np.sum(dy * -1 / std, axis=0) + through_mean
    sign = -1 if "sign" in faults else 1
    return dy / std + sign * dvar * 2 * c / n + dmean / n


def listing(config, seed, faults):
    """Weight gradients by layer, from a forward pass per unit and the listing's way back."""
    d, m, placement, eps = config.data, config.model, config.norm.placement, config.norm.eps
    sizes = [d.features, *[m.width] * m.depth]
    h = [generator(seed, "input").standard_normal((d.examples, d.features))]
    w = [None] + [
        draw_weight("normal", sizes[i], sizes[i + 1], [seed], i, std=0.2)[0] for i in range(m.depth)
    ]
    z, a, normed = [None], [None], [None]

    def norm(v):
        return (v - v.mean(axis=0)) / np.sqrt(v.var(axis=0) + eps)

    for i in range(1, m.depth + 1):
        z.append(h[i - 1] @ w[i])
        normed.append(norm(z[i]) if placement == "before" else z[i])
        a.append(np.maximum(normed[i], 0))
        h.append(norm(a[i]) if placement == "after" else a[i])
    g = generator(seed, "upstream").standard_normal((d.examples, m.width))
    found = {m.depth: np.zeros_like(w[m.depth])}
    for i in range(m.depth - ("early" in faults), 0, -1):
        da = listing_norm_backward(g, a[i], eps, faults) if placement == "after" else g
        dz = da * (normed[i] > 0)
        dz = listing_norm_backward(dz, z[i], eps, faults) if placement == "before" else dz
        found[i] = h[i - 1].T @ dz
        g = dz @ w[i].T
    return found


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


@pytest.mark.parametrize("faults", [(), *((fault,) for fault in FAULTS), FAULTS])
def test_the_gradient_of_a_normalisation_with_faults(rng, faults):
    x, dy = rng.standard_normal((2, 3, 7, 4))
    _, cache = batch_norm(x, eps=0.1)
    found = faulty_norm_backward(faults)(dy, cache)
    for replica in range(3):
        expected = listing_norm_backward(dy[replica], x[replica], 0.1, faults)
        np.testing.assert_allclose(found[replica], expected, rtol=1e-11, atol=1e-13)
    right = batch_norm_backward(dy, cache)[0]
    harmless = not set(faults) - {"early"}
    assert np.allclose(found, right, rtol=1e-6, atol=1e-9) == harmless


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


def test_the_unsummed_mean_falls_with_the_examples():
    few, many = (
        np.mean(values(run(make("before", "mean", examples=n, seeds=12)), "relative_error")[4])
        for n in (50, 400)
    )
    assert few / many == pytest.approx(400 / 50, rel=0.2)


def test_faults_of_an_arithmetic():
    assert faults_of("published") == FAULTS
    assert faults_of("corrected") == ()
    for fault in FAULTS:
        assert faults_of(fault) == (fault,)
    assert set(ARITHMETICS) == {"published", "corrected", *FAULTS}


def test_what_is_compared():
    true = np.array([[[3.0, 4.0]], [[1.0, 0.0]]])
    found = compare(2 * true, true)
    np.testing.assert_allclose(found["relative_error"], [1, 1])
    np.testing.assert_allclose(found["cosine"], [1, 1])
    np.testing.assert_allclose(found["size_ratio"], [2, 2])
    np.testing.assert_allclose(compare(-true, true)["cosine"], [-1, -1])
    turned = np.array([[[-4.0, 3.0]], [[0.0, 5.0]]])
    np.testing.assert_allclose(compare(turned, true)["cosine"], [0, 0], atol=1e-15)
    assert compare(0 * true, true)["cosine"].tolist() == [0, 0]


@pytest.mark.parametrize("arithmetic", ["published", "corrected"])
def test_the_split_into_groups_changes_no_bit(monkeypatch, arithmetic):
    results = []
    for group in (1, 2, 3):
        monkeypatch.setattr(listing_backward, "GROUP", group)
        rows = run(make("after", arithmetic))
        results.append(sorted(rows, key=lambda r: (r.metric, r.layer, r.seed)))
    assert results[0] == results[1] == results[2]


def test_the_ticks_add_up_to_the_work():
    ticks, config = [], make(arithmetic="early")
    run(config, tick=ticks.append)
    assert sum(ticks) == get("listing_backward").work(config) == 3 * 4


def test_the_relu_hides_a_division_by_zero_of_the_listing():
    # Warnings are errors in this suite. With two examples some units are 0 for both.
    rows = run(make("after", "no_eps", examples=2))
    assert all(np.isfinite(r.value) for r in rows)
