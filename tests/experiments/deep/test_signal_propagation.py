"""Document A: both arithmetics against independent ones, and what the rows hold."""

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig
from gpubn.errors import ConfigError
from gpubn.experiments import Context, get
from gpubn.nn.rng import generator
from gpubn.theory import relu_activation_var, relu_weight_grad_var
from tests.nn.weights import draw_weight

PLACEMENTS = ["none", "before", "after"]
ARITHMETICS = ["published", "corrected"]
DEPTH, WIDTH, FEATURES, EXAMPLES, STD = 4, 12, 9, 30, 0.3


def make(placement="none", arithmetic="corrected", **options):
    depth, width = options.pop("depth", DEPTH), options.pop("width", WIDTH)
    data = {"examples": options.pop("examples", EXAMPLES), "features": FEATURES}
    data["features"] = options.pop("features", FEATURES)
    return Config(
        name="signal_propagation",
        data=DataConfig("gaussian", **data),
        model=ModelConfig("deep", depth, width, "relu"),
        norm=NormConfig(name=placement, placement=placement, eps=options.pop("eps", 1e-5)),
        init=InitConfig(name="any", kind="normal", std=options.pop("std", STD)),
        arithmetic=arithmetic,
        **{"dtype": "float64", "seeds": 3, "first_seed": 5} | options,
    )


def run(config):
    return get("signal_propagation").run(config, Context(resolve("numpy")))


def values(rows, metric):
    """{layer: values by seed} of one metric."""
    found = {}
    for row in rows:
        if row.metric == metric:
            assert row.seed not in found.setdefault(row.layer, {})
            found[row.layer][row.seed] = row.value
    return found


def drawn(config, seed):
    """Input, weights and upstream gradient of one seed, (examples, units)."""
    d, m = config.data, config.model
    sizes = [d.features, *[m.width] * m.depth]
    x = generator(seed, "input").standard_normal((d.examples, d.features))
    weights = [
        draw_weight("normal", sizes[i], sizes[i + 1], [seed], i, std=config.init.std)[0]
        for i in range(m.depth)
    ]
    return x, weights, generator(seed, "upstream").standard_normal((d.examples, m.width))


def offsets(h):
    """Of the last of the outputs (examples, units), by its layer."""
    return {
        f"{what}_offset": {
            i: (sum(np.mean(line) ** 2 for line in lines) / len(lines) / v.var()) ** 0.5
            for i, v in enumerate(h)
            for lines in [v.T if what == "unit" else v]
            if i == len(h) - 1
        }
        for what in ("unit", "example")
    }


def document(config, seed, upstream_scale=1.0):
    """The document's listing, (units, examples) as it has it; see the module under test."""
    x, weights, upstream = drawn(config, seed)
    w = [None, *(weight.T for weight in weights)]
    placement, last = config.norm.placement, config.model.depth
    h, z, a, normed = [x.T], [None], [None], [None]

    def norm(v):
        return (v - np.mean(v, axis=0)) / np.std(v, axis=0)

    def norm_backward(dxhat, v):
        units = v.shape[0]
        mean, var, std = np.mean(v, axis=0), np.var(v, axis=0), np.std(v, axis=0)
        dvar = np.sum(dxhat * (v - mean) * -0.5 * var**-1.5, axis=0)
        dmean = np.sum(dxhat * -1 / std, axis=0) + dvar * -2 * (v - mean) / units
        return dxhat / std + dvar * -2 * (v - mean) / units + dmean / units

    for i in range(1, last + 1):
        z.append(w[i] @ h[i - 1])
        normed.append(norm(z[i]) if placement == "before" else z[i])
        a.append(np.maximum(0, normed[i]))
        h.append(norm(a[i]) if placement == "after" else a[i])
    g = upstream.T * upstream_scale
    found = {"signal_var": {last - 1: g.var()}, "weight_grad_var": {}}
    for i in range(last - 1, 0, -1):
        da = norm_backward(g, a[i]) if placement == "after" else g
        dz = da * (normed[i] > 0)
        dz = norm_backward(dz, z[i]) if placement == "before" else dz
        found["weight_grad_var"][i] = (dz @ h[i - 1].T).var()
        g = w[i].T @ dz
        found["signal_var"][i - 1] = g.var()
    found["activation_var"] = {i: v.var() for i, v in enumerate(h)}
    found["zero_share"] = {i: (v == 0).mean() for i, v in enumerate(a) if i}
    found["small_share"] = {i: (np.abs(v) < 0.01).mean() for i, v in enumerate(a) if i}
    found["weight_var"] = {i: v.var() for i, v in enumerate(w) if i}
    return found | offsets([v.T for v in h])


def complex_step(config, seed):
    """Variances by complex differentiation: exact to rounding, and no backward pass."""
    x, weights, upstream = drawn(config, seed)
    placement, step = config.norm.placement, 1e-30

    def norm(v):
        c = v - v.mean(axis=-2, keepdims=True)
        return c / np.sqrt((c * c).mean(axis=-2, keepdims=True) + config.norm.eps)

    def block(h, w):
        z = h @ w
        z = norm(z) if placement == "before" else z
        a = z * (z.real > 0)
        return norm(a) if placement == "after" else a

    def derivative(h, moved, rest):
        """d sum(upstream * output) / d each value of h or of w; one direction a replica."""
        start = (h if moved is None else moved).astype(complex)
        directions = np.eye(start.size).reshape(-1, *start.shape) * (1j * step)
        out = start + directions if moved is None else block(h, start + directions)
        for w in rest:
            out = block(out, w)
        return (upstream * out).sum(axis=(-2, -1)).imag / step

    outputs = [x]
    h, found = x, {"signal_var": {}, "weight_grad_var": {}, "activation_var": {0: x.var()}}
    found["unit_var"] = {}
    for i, w in enumerate(weights):
        found["signal_var"][i] = derivative(h, None, weights[i:]).var()
        found["weight_grad_var"][i + 1] = derivative(h, w, weights[i + 1 :]).var()
        h = block(h, w)
        found["activation_var"][i + 1] = h.var()
        found["unit_var"][i + 1] = np.mean([np.var(unit) for unit in h.T])
        outputs.append(h)
    found["signal_var"][len(weights)] = upstream.var()
    return found | offsets(outputs)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_what_the_rows_hold(placement, arithmetic):
    rows = run(make(placement, arithmetic))
    last = DEPTH - 1 if arithmetic == "published" else DEPTH
    layers = {
        "weight_var": range(1, DEPTH + 1),
        "activation_var": range(DEPTH + 1),
        "unit_var": range(1, DEPTH + 1),
        "zero_share": range(1, DEPTH + 1),
        "small_share": range(1, DEPTH + 1),
        "unit_offset": [DEPTH],
        "example_offset": [DEPTH],
        "mixing_share": [DEPTH],
        "signal_var": range(last + 1),
        "weight_grad_var": range(1, last + 1),
        "signal_var_published_scale": range(last + 1),
        "weight_grad_var_published_scale": range(1, last + 1),
    }
    assert {r.metric for r in rows if r.seed is not None} == set(layers)
    for metric, expected in layers.items():
        found = values(rows, metric)
        assert sorted(found) == list(expected), metric
        assert all(sorted(by_seed) == [5, 6, 7] for by_seed in found.values()), metric
    assert {r.step for r in rows} == {None}
    assert all(np.isfinite(r.value) for r in rows)
    histograms = {(r.metric.split("[")[0], r.layer) for r in rows if r.seed is None}
    assert histograms == {("activation_hist", i) for i in range(DEPTH + 1)} | {
        ("weight_grad_hist", i) for i in range(1, last + 1)
    }


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_published_is_the_listing(placement):
    config = make(placement, "published")
    rows = run(config)
    for seed in (5, 6, 7):
        for metric, by_layer in document(config, seed).items():
            found = {layer: v[seed] for layer, v in values(rows, metric).items()}
            assert found == pytest.approx(by_layer, rel=1e-9), metric


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_corrected_is_the_true_gradient(placement, eps):
    config = make(placement, width=6, features=4, examples=10, depth=3, seeds=2, std=0.6, eps=eps)
    rows = run(config)
    for seed in (5, 6):
        for metric, by_layer in complex_step(config, seed).items():
            found = {layer: v[seed] for layer, v in values(rows, metric).items()}
            assert found == pytest.approx(by_layer, rel=1e-9), metric


def test_the_two_arithmetics_differ():
    for placement in PLACEMENTS[1:]:
        found = [values(run(make(placement, name)), "signal_var")[0][5] for name in ARITHMETICS]
        assert found[0] != pytest.approx(found[1], rel=0.01)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_the_published_scale_is_that_of_the_upstream_gradient(placement, arithmetic):
    config = make(placement, arithmetic)
    rows = run(config)
    scale = {"none": 100.0, "before": 0.01, "after": 0.01}[placement]
    for metric in ("signal_var", "weight_grad_var"):
        unit, scaled = values(rows, metric), values(rows, f"{metric}_published_scale")
        assert sorted(unit) == sorted(scaled)
        for layer, by_seed in unit.items():
            for seed, value in by_seed.items():
                assert scaled[layer][seed] == pytest.approx(scale**2 * value, rel=1e-12)
        if arithmetic == "published":
            found = {layer: v[5] for layer, v in scaled.items()}
            assert found == pytest.approx(document(config, 5, scale)[metric], rel=1e-9)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_what_of_a_square_weight_lies_off_its_diagonal(arithmetic):
    config = make("before", arithmetic, features=WIDTH)
    found = values(run(config), "mixing_share")
    for seed in (5, 6, 7):
        weight = drawn(config, seed)[1][-1]
        off = weight - np.diag(np.diag(weight))
        right = (off**2).sum() / (weight**2).sum()
        assert found[DEPTH][seed] == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize(("arithmetic", "none"), [("corrected", "unit"), ("published", "example")])
def test_each_normalisation_takes_the_offset_along_its_own_axis(arithmetic, none):
    rows = run(make("after", arithmetic))
    by_axis = {
        what: [v for by_seed in values(rows, f"{what}_offset").values() for v in by_seed.values()]
        for what in ("unit", "example")
    }
    assert max(by_axis.pop(none)) < 1e-12
    (other,) = by_axis.values()
    assert min(other) > 0.05


def test_without_normalisation_the_signal_dies_and_the_weight_gradients_stay_level():
    rows = run(make(depth=8, width=60, features=60, examples=80, std=0.05, seeds=8))
    mean = {
        metric: {layer: np.mean(list(v.values())) for layer, v in values(rows, metric).items()}
        for metric in ("activation_var", "weight_grad_var", "signal_var")
    }
    for layer in range(1, 9):
        predicted = relu_activation_var(60, 0.05**2, layer)  # a gain of 0.075 a layer
        assert mean["activation_var"][layer] == pytest.approx(predicted, rel=0.35)
        predicted = relu_weight_grad_var(60, 0.05**2, 8, 80)
        assert mean["weight_grad_var"][layer] == pytest.approx(predicted, rel=0.35)
        assert mean["signal_var"][layer - 1] < 0.15 * mean["signal_var"][layer]
    assert mean["activation_var"][8] < 1e-8


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_histograms_are_shares_of_all_seeds_together(arithmetic):
    rows = [r for r in run(make("after", arithmetic)) if r.seed is None]
    places = {(r.metric.split("[")[0], r.layer) for r in rows}
    for name, layer in places:
        bins = [r for r in rows if r.metric.startswith(f"{name}[") and r.layer == layer]
        assert len(bins) == 41
        assert sum(r.value for r in bins) == pytest.approx(1, rel=1e-12)
        centres = [float(r.metric.split("[")[1].rstrip("]")) for r in bins]
        np.testing.assert_allclose(centres, np.arange(-5, 5.01, 0.25), atol=1e-9)
    config = make("after", arithmetic)
    pooled = [x / x.std() for x in (drawn(config, seed)[0] for seed in (5, 6, 7))]
    expected, _ = np.histogram(pooled, 41, (-5.125, 5.125))
    found = [r.value for r in rows if r.metric.startswith("activation_hist") and r.layer == 0]
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("placement", PLACEMENTS[1:])
def test_a_division_by_zero_of_the_listing_is_recorded_as_nan(placement):
    # One unit: its spread over the units is 0, and the listing has no eps.
    rows = run(make(placement, "published", width=1))
    assert np.isnan(list(values(rows, "activation_var")[1].values())).all()


def test_an_overflow_is_recorded():
    # Warnings are errors in this suite, in worker threads too.
    rows = run(make(dtype="float32", std=1e15))
    assert not np.isfinite(list(values(rows, "activation_var")[DEPTH].values())).any()


@pytest.mark.parametrize("arithmetic", ["early", "sign", "mean"])
def test_a_single_fault_of_the_listing_is_refused(arithmetic):
    text = f"arithmetic is '{arithmetic}'; expected published or corrected for signal_propagation"
    with pytest.raises(ConfigError, match=text):
        run(make("before", arithmetic))
