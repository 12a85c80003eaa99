"""The multilayer perceptron: its layers, its gradient, and that replicas never mix."""

from itertools import product

import numpy as np
import pytest

from gpubn.backend import namespace
from gpubn.config import InitConfig, ModelConfig
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from gpubn.nn.layers import Activation, Affine, Dropout, Slope
from gpubn.nn.model import MLP, build_mlp, select_from_cache
from gpubn.nn.norms import KINDS
from gpubn.nn.norms.base import Norm, Site
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.norms.ghost_batch_norm import GhostBatchNorm
from gpubn.nn.residual import Residual
from gpubn.nn.rng import generator
from tests.cuda.checkers import check_gradient
from tests.nn.networks import (
    CLASSES,
    FEATURES,
    PLACEMENTS,
    WIDTH,
    build,
    draw_weight,
    norm_config,
    shake,
    state,
)

DROPPED_AT = ["before_norm", "end", "last"]
OTHER_KINDS = [kind for kind in KINDS if kind not in ("batch", "ghost")]
FUNCTIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "linear": lambda z: z,
}
N = 8


def draw_examples(rng, backend, replicas, dtype="float64"):
    x = rng.standard_normal((replicas, N, FEATURES)).astype(dtype)
    labels = rng.integers(0, CLASSES, (replicas, N))
    return backend.asarray(x), backend.asarray(labels)


def loss_and_gradients(model, x, labels, dloss=1.0, *, track=True):
    logits, caches = model.forward(x, training=True, track=track)
    loss, cache = softmax_cross_entropy(logits, labels)
    return loss, model.backward(softmax_cross_entropy_backward(cache, dloss), caches)


def same_gradients(same_bits, some, gradients, others):
    """Those of some replicas in a stack, and the ones of a network of these replicas."""
    for of_layer, of_other in zip(gradients, others, strict=True):
        assert [*of_layer] == [*of_other]
        for name, gradient in of_layer.items():
            same_bits(gradient[some], of_other[name])


BLOCKS = {
    # (placement, dropout_at): what follows each affine map, and of the last hidden layer
    ("none", None): ("A", "A"),
    ("before", None): ("B A", "B A"),
    ("after", None): ("A B", "A B"),
    ("none", "before_norm"): ("A D", "A D"),  # without a batchnorm, as at the end
    ("none", "end"): ("A D", "A D"),
    ("none", "last"): ("A", "A D"),
    ("before", "before_norm"): ("D B A", "D B A"),
    ("before", "end"): ("B A D", "B A D"),
    ("before", "last"): ("B A", "B A D"),
    ("after", "before_norm"): ("A D B", "A D B"),
    ("after", "end"): ("A B D", "A B D"),
    ("after", "last"): ("A B", "A B D"),
}


@pytest.mark.parametrize(("placement", "dropout_at"), BLOCKS)
@pytest.mark.parametrize("ghost", [0, 2])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_order_of_the_layers(backend, placement, dropout_at, depth, ghost):
    kinds = {"A": Activation, "B": GhostBatchNorm if ghost else BatchNorm, "D": Dropout}
    options = {"dropout": 0.4 if dropout_at else 0.0, "dropout_at": dropout_at or "last"}
    model = build(backend, placement=placement, depth=depth, ghost=ghost, **options)
    block, expected = BLOCKS[placement, dropout_at], []
    for number in range(1, depth + 1):
        expected += [Affine, *(kinds[c] for c in block[number == depth].split())]
    assert [type(layer) for layer in model.layers] == [*expected, Affine]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    "options",
    [
        *({"activation": name} for name in FUNCTIONS),
        *({"activation": name, "ghost": 4} for name in FUNCTIONS),
        *({"dropout": 0.4, "dropout_at": at} for at in DROPPED_AT),
    ],
    ids=str,
)
def test_a_training_pass_is_the_plain_computation(backend, rng, placement, options):
    """Masks are found by passing ones through each layer of dropout."""
    model = build(backend, placement=placement, eps=0.01, **options)
    shake(model.layers, backend, rng)
    x, _ = draw_examples(rng, backend, 2)
    before = [backend.to_host(array).copy() for array in state(model)]
    h, activations = backend.to_host(x), []
    for layer in model.layers:
        p = {name: backend.to_host(value) for name, value in layer.params.items()}
        if isinstance(layer, Affine):
            h = h @ p["weight"] + p["bias"][:, None]
        elif isinstance(layer, Activation):
            h = FUNCTIONS[options.get("activation", "tanh")](h)
            activations.append(h)
        elif isinstance(layer, BatchNorm):
            groups = h.reshape(2, -1, options.get("ghost", N), WIDTH)
            mean, var = (f(axis=2, keepdims=True) for f in (groups.mean, groups.var))
            h = ((groups - mean) / np.sqrt(var + 0.01)).reshape(h.shape)
            h = h * p["gamma"][:, None] + p["beta"][:, None]
        else:
            ones = backend.asarray(np.ones_like(h))
            h = h * backend.to_host(layer.forward(ones, training=True, track=False)[0])
    logits, caches = model.forward(x, training=True, track=False)
    near = {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(backend.to_host(logits), h, **near)
    for found, right in zip(model.activations(caches), activations, strict=True):
        np.testing.assert_allclose(backend.to_host(found), right, **near)
    for array, was in zip(state(model), before, strict=True):  # nothing was tracked
        assert backend.to_host(array).tobytes() == was.tobytes()
    tracked, _ = model.forward(x, training=True)
    assert (backend.to_host(tracked) != backend.to_host(logits)).any() == ("dropout" in options)
    for layer in model.layers_of(BatchNorm):
        assert (backend.to_host(layer.running["mean"]) != 0).any()


SCALED = [
    InitConfig(kind="normal", scale=5.0, scaled="hidden", bias=2.0),
    InitConfig(kind="normal", scale=5.0, bias=3.0),
    InitConfig(kind="glorot_normal", scale=0.1, scaled="hidden", per_sqrt_fan_in=True),
    InitConfig(kind="he_normal", scaled="hidden"),
]


@pytest.mark.parametrize("depth", [1, 3])
def test_weights_and_biases_are_drawn_as_their_configuration_says(backend, depth):
    seeds = (0, 1, 0, 7)
    model = build(backend, depth=depth, init=SCALED, seeds=seeds)
    sizes = [FEATURES, *[WIDTH] * depth, CLASSES]
    for i, layer in enumerate(model.layers_of(Affine)):
        weight, biases = (backend.to_host(layer.params[name]) for name in ("weight", "bias"))
        for found, bias, one, seed in zip(weight, biases, SCALED, seeds, strict=True):
            plain = one.scaled == "hidden" and i == depth
            factor = 1 if plain else one.scale
            deviation = 0 if plain else one.bias
            drawn = generator(seed, "biases", i).standard_normal(sizes[i + 1])
            np.testing.assert_allclose(bias, deviation * drawn, rtol=1e-6)
            options = {"scale": factor, "per_sqrt_fan_in": one.per_sqrt_fan_in}
            right = draw_weight(one.kind, sizes[i], sizes[i + 1], [seed], i, **options)
            assert found.tobytes() == right[0].tobytes()


@pytest.mark.parametrize("ghost", [0, 4])
def test_every_option_of_the_initialiser_and_of_batch_norm_arrives(backend, rng, ghost):
    drawn = {"low": -3.0, "high": 2.0, "scale": 0.5, "per_sqrt_fan_in": True}
    init = InitConfig(kind="uniform", **drawn)
    norm = {"eps": 0.25, "momentum": 0.5, "correction": 1, "average": "std", "initial_spread": 3.0}
    options = {"placement": "before", "depth": 1, "init": init, "ghost": ghost, **norm}
    model = build(backend, learnable=False, seeds=[3], **options)
    weight = draw_weight("uniform", FEATURES, WIDTH, [3], 0, **drawn)
    assert (backend.to_host(model.layers[0].params["weight"]) == weight).all()
    x, _ = draw_examples(rng, backend, 1)
    groups = (backend.to_host(x) @ weight).reshape(-1, ghost or N, WIDTH)
    mean, var = groups.mean(axis=1, keepdims=True), groups.var(axis=1, ddof=1, keepdims=True)
    _, caches = model.forward(x, training=True)
    expected = np.tanh((groups - mean) / np.sqrt(var + 0.25)).reshape(1, N, WIDTH)
    np.testing.assert_allclose(backend.to_host(model.activations(caches)[0]), expected, rtol=1e-10)
    assert model.layers[1].params == {}
    spread = 0.5 * 3.0 + 0.5 * np.sqrt(var).mean(axis=0)
    np.testing.assert_allclose(backend.to_host(model.layers[1].running_var), spread**2, rtol=1e-12)
    learnable = build(backend, initial_beta=1.0, **options)
    for name in ("gamma", "beta"):
        assert (backend.to_host(learnable.layers[1].params[name]) == 1).all()


OF_ANY = [
    *({"activation": name} for name in FUNCTIONS),
    *({"dropout": 0.3, "dropout_at": at, "activation": "relu"} for at in DROPPED_AT),
    {"residual": True, "depth": 3, "dropout": 0.3},
]
OF_NORM = [
    *({"activation": name, "correction": 1, "learnable": False} for name in FUNCTIONS),
    *({"activation": name, "correction": 1, "ghost": 4} for name in FUNCTIONS),
    {"ghost": 4, "learnable": False},
    *({"kind": kind, "activation": "sigmoid"} for kind in OTHER_KINDS),
    {"kind": "variance_only", "correction": 1, "learnable": False},
    *({"residual": True, "depth": 3, "kind": kind} for kind in ("batch", "noisy", "layer")),
]


@pytest.mark.parametrize(
    ("placement", "options"),
    [*product(PLACEMENTS, OF_ANY), *product(["before", "after"], OF_NORM)],
    ids=str,
)
def test_gradient_of_the_loss(backend, xp, rng, placement, options):
    model = build(backend, placement=placement, eps=1e-2, **options)
    shake(model.layers, backend, rng)
    x, labels = draw_examples(rng, backend, 2)
    places = [(layer, name) for layer in model.layers for name in layer.params]

    # All parameters as one vector: a bias before batch norm has no gradient to be relative to.
    def unpack(vector):
        start = 0
        for layer, name in places:
            shape, size = layer.params[name].shape, layer.params[name].size
            layer.params[name] = vector[start : start + size].reshape(shape)
            start += size
        assert start == vector.size

    vector = xp.concatenate([layer.params[name].ravel() for layer, name in places])

    def loss(moved):
        unpack(moved)
        return loss_and_gradients(model, x, labels, track=False)[0]

    def vjp(dloss):
        unpack(vector)
        _, gradients = loss_and_gradients(model, x, labels, dloss, track=False)
        found = [gradient for of_layer in gradients for gradient in of_layer.values()]
        assert [name for of_layer in gradients for name in of_layer] == [name for _, name in places]
        return [xp.concatenate([gradient.ravel() for gradient in found])]

    # A small step keeps clear of the kinks of relu.
    check_gradient(loss, vjp, [vector], rng=rng, eps=1e-5, rtol=1e-7)


@pytest.mark.parametrize("options", [{}, {"ghost": 2}, {"kind": "noisy"}], ids=str)
def test_a_bias_that_a_map_leaves_to_the_norm_behind_it_is_in_the_running_mean(
    backend, rng, options
):
    model = build(backend, placement="before", momentum=0.25, **options)
    shake(model.layers, backend, rng)
    x, _ = draw_examples(rng, backend, 2)
    walk = model.walk(x, training=True)  # each layer by itself
    seen = [backend.to_host(h).mean(axis=1) for layer, h, _ in walk if isinstance(layer, Norm)]
    model.forward(x, training=True)
    for norm, mean in zip(model.layers_of(Norm), seen, strict=True):
        found = backend.to_host(norm.running["mean"])
        np.testing.assert_allclose(found, 0.25 * mean, rtol=1e-12, atol=1e-14)


class CubedNorm(BatchNorm):
    """Batch norm of x cubed, which a bias changes; it has no `bias` and no activation."""

    fuses = False

    def forward(self, x, *, training, track):
        y, cache = super().forward(x**3, training=training, track=track)
        return y, (x, cache)

    def backward(self, dy, cache, *, need_dx):
        dx, gradients = super().backward(dy, cache[1], need_dx=need_dx)
        return 3 * cache[0] ** 2 * dx, gradients


def by_hand(backend, names):
    """A network of a map W, its N (batch norm) or C (of cubes), A (tanh), 1 or 2 (the end of a
    connection around so many layers), and a map to the logits."""
    rng, site = np.random.default_rng(0), Site([0, 1], WIDTH, 1, backend, "float64")

    def layer(name):
        if name == "W":
            weight, bias = (2, FEATURES, WIDTH), (2, WIDTH)
            return Affine(*(backend.asarray(rng.standard_normal(s)) for s in (weight, bias)))
        if name in "NC":
            return {"N": BatchNorm, "C": CubedNorm}[name]([norm_config("before")], site)
        if name == "A":
            return Activation("tanh")
        return Residual(backend.asarray(np.full((2, 1), 0.5)), int(name))

    layers = [layer(name) for name in names]
    out = (backend.asarray(rng.standard_normal((2, *s))) for s in ((WIDTH, CLASSES), (CLASSES,)))
    return MLP([*layers, Affine(*out)])


@pytest.mark.parametrize("names", ["WN1", "WNA2", "WNA1", "WA1", "WAN1", "WC", "WCA"])
def test_a_layer_is_folded_into_the_next_where_nothing_is_between_and_the_next_says_so(
    backend, names
):
    rng, rates = np.random.default_rng(1), np.array([0.5, 0.25])
    one, other = by_hand(backend, names), by_hand(backend, names)
    x, labels = draw_examples(rng, backend, 2)
    *_, (_, _, apart) = one.walk(x, training=True)
    together, _ = one.forward(x, training=True, track=False)
    np.testing.assert_allclose(*map(backend.to_host, (together, apart)), rtol=1e-12, atol=1e-14)
    before = [backend.to_host(p) for layer in one.layers for p in layer.params.values()]
    other.step(x, labels, backend.asarray(rates))
    after = [backend.to_host(p) for layer in other.layers for p in layer.params.values()]

    def loss(*parameters):
        given = iter(parameters)
        for layer in one.layers:
            for name in layer.params:
                layer.params[name] = backend.asarray(next(given))
        *_, (_, _, logits) = one.walk(x, training=True)
        return backend.to_host(softmax_cross_entropy(logits, labels)[0])

    for k, (start, end) in enumerate(zip(before, after, strict=True)):
        step = 1e-6 * rng.standard_normal(start.shape)
        up, down = (loss(*before[:k], start + sign * step, *before[k + 1 :]) for sign in (1, -1))
        descent = (start - end) / rates.reshape(-1, *[1] * (start.ndim - 1))
        slope = (descent * step).reshape(2, -1).sum(axis=1)
        np.testing.assert_allclose((up - down) / 2, slope, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize(
    "options",
    [
        *({"ghost": ghost} for ghost in (0, 2, N)),
        *({"kind": kind, "residual": True} for kind in OTHER_KINDS),
    ],
    ids=str,
)
@pytest.mark.parametrize("placement", ["before", "after"])
def test_a_step_goes_down_the_gradient(backend, rng, monkeypatch, placement, options):
    """Layer by layer, as training does, against all gradients first."""
    one, other = (build(backend, placement=placement, **options) for _ in "12")
    for model in (one, other):
        shake(model.layers, backend, np.random.default_rng(3))
    x, labels = draw_examples(rng, backend, 2)
    rates = np.array([0.5, 0.25])
    loss, gradients = loss_and_gradients(one, x, labels)
    returned, descend = [], other.layers[0].descend

    def spy(*args, **options):
        returned.append(descend(*args, **options))
        return returned[-1]

    monkeypatch.setattr(other.layers[0], "descend", spy)
    found = other.step(x, labels, backend.asarray(rates))
    np.testing.assert_allclose(backend.to_host(found), backend.to_host(loss), rtol=1e-12)
    assert returned == [Slope(None)]  # nobody needs the gradient of the data
    for before, of_layer, after in zip(one.layers, gradients, other.layers, strict=True):
        assert sorted(of_layer) == sorted(after.params)
        for name, gradient in of_layer.items():
            start, g = backend.to_host(before.params[name]), backend.to_host(gradient)
            expected = start - rates.reshape(-1, *[1] * (g.ndim - 1)) * g
            found = backend.to_host(after.params[name])
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


# One configuration a replica ----------------------------------------------------------------------

ARMS = [
    ({}, {}, {}),
    ({"dropout": 0.7}, {"eps": 0.0, "momentum": 1.0}, {"kind": "normal", "std": 0.4}),
    ({}, {"initial_beta": -1.0, "initial_spread": 3.0}, {"scale": 5.0, "scaled": "hidden"}),
]
SEEDS = [4, 0, 4]
SHARED = [
    *({}, *({"dropout": 0.3, "dropout_at": at} for at in DROPPED_AT), {"ghost": 2}),
    *({"kind": kind, "residual": True} for kind in OTHER_KINDS),
]


def build_arms(backend, arms, seeds, placement, dtype, **shared):
    of_norms = {name: shared[name] for name in ("ghost", "kind") if name in shared}
    shared = {name: value for name, value in shared.items() if name not in of_norms}
    configs = [
        (
            ModelConfig(
                **{"depth": 2, "width": WIDTH},
                **shared | (of_model if "dropout" in shared else {}),
            ),
            norm_config(placement, **of_norms | norm),
            InitConfig(**init),
        )
        for of_model, norm, init in arms
    ]
    options = {"seeds": seeds, "backend": backend, "dtype": dtype}
    return build_mlp(*zip(*configs, strict=True), features=FEATURES, classes=CLASSES, **options)


@pytest.mark.parametrize("options", SHARED, ids=str)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_replicas_of_any_configuration_have_the_bits_that_they_have_alone(
    backend, same_bits, rng, dtype, placement, options
):
    together = build_arms(backend, ARMS, SEEDS, placement, dtype, **options)
    singles = [
        build_arms(backend, [arm], [seed], placement, dtype, **options)
        for arm, seed in zip(ARMS, SEEDS, strict=True)
    ]
    for model in (together, *singles):
        model.prepare(2)
        for layer in model.layers_of(Residual):
            layer.params["alpha"] += 0.5
    x, labels = draw_examples(rng, backend, 3, dtype)
    for _ in range(2):
        loss, gradients = loss_and_gradients(together, x, labels)
        y, _ = together.forward(x, training=False)
        for r, single in enumerate(singles):
            here = slice(r, r + 1)
            alone, of_alone = loss_and_gradients(single, x[here], labels[here])
            same_bits(loss[here], alone)
            same_gradients(same_bits, here, gradients, of_alone)
            same_bits(y[here], single.forward(x[here], training=False)[0])


def arrays_of(caches):
    split = (cache if isinstance(cache, tuple) else [cache] for cache in caches)
    return [field for fields in split for field in fields if hasattr(field, "ndim")]


@pytest.mark.parametrize("some", [slice(0, 1), slice(1, 3), slice(0, 3)], ids=str)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"ghost": 2}, *SHARED[5:], {}], ids=str)
def test_a_part_of_a_network_computes_as_in_the_whole(
    backend, same_bits, rng, placement, options, some
):
    whole = build_arms(backend, ARMS, SEEDS, placement, "float64", **options)
    part = whole.select(some)
    x, _ = draw_examples(rng, backend, 3)
    whole.forward(x, training=True)  # moves the running statistics, which the part shares
    for training in (False, True):
        y, caches = whole.forward(x, training=training, track=False)
        y_part, own = part.forward(x[some], training=training, track=False)
        same_bits(y_part, y[some])
    if "ghost" not in options:  # whose caches hold groups
        own = [select_from_cache(cache, some) for cache in caches]
        for one, other in zip(arrays_of(caches), arrays_of(own), strict=True):
            assert namespace(one).shares_memory(one, other)
    same_gradients(same_bits, some, whole.backward(y, caches), part.backward(y[some], own))
    before = [backend.to_host(array).copy() for array in state(whole)]
    for layer in part.layers:
        for value in layer.params.values():
            value += 1
    part.forward(x[some] + 9, training=True)
    inside = [r in range(3)[some] for r in range(3)]
    for array, was in zip(state(whole), before, strict=True):
        assert (backend.to_host(array) != was).any(
            axis=tuple(range(1, was.ndim))
        ).tolist() == inside


# Connections around layers ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"dropout": 0.4}, {"placement": "none"}], ids=str)
def test_a_connection_goes_around_every_hidden_layer_but_the_first(backend, rng, options):
    """x + alpha f(x), by hand; as the layers alone, where alpha is 0."""
    options = {"placement": "after", "depth": 3, "kind": "layer"} | options
    model = build(backend, residual=True, **options)
    ends = [i for i, layer in enumerate(model.layers) if isinstance(layer, Residual)]
    block = 2 + (options["placement"] != "none") + ("dropout" in options)
    assert ends == [2 * block, 3 * block + 1]
    x, _ = draw_examples(rng, backend, 2)
    first, last = model.layers[:block], model.layers[-1:]
    plain, _ = MLP([*first, *last]).forward(x, training=True, track=False)
    near = {"rtol": 1e-12, "atol": 1e-14}
    found, _ = model.forward(x, training=True, track=False)
    np.testing.assert_allclose(backend.to_host(found), backend.to_host(plain), **near)

    shake(model.layers, backend, rng)
    h = x
    for i, layer in enumerate(model.layers):
        if i in (block, 2 * block + 1):
            skip = h
        if i in ends:
            alpha = backend.to_host(layer.params["alpha"])
            assert alpha.shape == (2, 1)
            h = backend.asarray(backend.to_host(skip) + alpha[:, None] * backend.to_host(h))
        else:
            h, _ = layer.forward(h, training=True, track=False)
    found, caches = model.forward(x, training=True, track=False)
    np.testing.assert_allclose(backend.to_host(found), backend.to_host(h), **near)
    walked = list(model.walk(x, training=True))
    np.testing.assert_allclose(backend.to_host(walked[-1][2]), backend.to_host(h), **near)
    assert [layer for layer, _, _ in walked] == model.layers
    outputs = [y for layer, _, y in walked if isinstance(layer, Activation)]
    for inside, output in zip(model.activations(caches), outputs, strict=True):
        np.testing.assert_allclose(backend.to_host(inside), backend.to_host(output), **near)
    assert len(model.layers_of(Norm)) == (0 if options["placement"] == "none" else 3)
