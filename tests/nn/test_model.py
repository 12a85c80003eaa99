"""The multilayer perceptron: its layers, its gradient, and that replicas never mix."""

import numpy as np
import pytest

from gpubn.backend import namespace
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.kernels import softmax_cross_entropy, softmax_cross_entropy_backward
from gpubn.nn.layers import Activation, Affine, Dropout
from gpubn.nn.model import build_mlp, select_from_cache
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.norms.ghost_batch_norm import GhostBatchNorm
from tests.cuda.checkers import check_gradient
from tests.nn.weights import draw_weight

PLACEMENTS = ["none", "before", "after"]
ACTIVATIONS = ["tanh", "sigmoid", "relu", "linear"]
DROPPED_AT = ["before_norm", "end", "last"]
FEATURES, WIDTH, CLASSES, N = 4, 5, 3, 8


def build(backend, *, placement="none", activation="tanh", depth=2, seeds=(0, 1), **options):
    dtype, width = options.pop("dtype", "float64"), options.pop("width", WIDTH)
    dropout = {"dropout": options.pop("dropout", 0.0)}
    dropout["dropout_at"] = options.pop("dropout_at", "end")
    return build_mlp(
        ModelConfig(depth=depth, width=width, activation=activation, **dropout),
        NormConfig(name=placement, placement=placement, **options),
        InitConfig(kind="glorot_normal"),
        features=FEATURES,
        classes=CLASSES,
        seeds=seeds,
        backend=backend,
        dtype=dtype,
    )


def examples(rng, backend, replicas, dtype="float64"):
    x = rng.standard_normal((replicas, N, FEATURES)).astype(dtype)
    labels = rng.integers(0, CLASSES, (replicas, N))
    return backend.asarray(x), backend.asarray(labels)


def shake(model, rng, backend):
    """Move every parameter off its special value: biases and beta from 0, gamma from 1."""
    for layer in model.layers:
        for array in layer.params.values():
            array += backend.asarray(rng.uniform(-0.5, 0.5, array.shape).astype(str(array.dtype)))


def loss_and_gradients(model, x, labels, dloss=1.0, *, track=True):
    logits, caches = model.forward(x, training=True, track=track)
    loss, cache = softmax_cross_entropy(logits, labels)
    return loss, model.backward(softmax_cross_entropy_backward(cache, dloss), caches)


@pytest.mark.parametrize(
    ("placement", "block"),
    [
        ("none", [Affine, Activation]),
        ("before", [Affine, BatchNorm, Activation]),
        ("after", [Affine, Activation, BatchNorm]),
    ],
)
@pytest.mark.parametrize("depth", [1, 3])
def test_the_order_of_the_layers(backend, placement, block, depth):
    model = build(backend, placement=placement, depth=depth)
    assert [type(layer) for layer in model.layers] == [*block * depth, Affine]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("ghost", [0, 2, N])
def test_ghost_batches_stand_where_batch_norm_does(backend, placement, ghost):
    kinds, plain = (
        [type(la) for la in build(backend, placement=placement, **options).layers]
        for options in ({"ghost": ghost}, {})
    )
    expected = GhostBatchNorm if ghost else BatchNorm
    assert kinds == [expected if kind is BatchNorm else kind for kind in plain]


BLOCKS = {
    # (placement, dropout_at): what follows each affine map, and of the last hidden layer
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
KINDS = {"A": Activation, "B": BatchNorm, "D": Dropout}


@pytest.mark.parametrize(("placement", "dropout_at"), BLOCKS)
@pytest.mark.parametrize("depth", [1, 3])
def test_where_dropout_stands(backend, rng, placement, dropout_at, depth):
    options = {"placement": placement, "depth": depth, "dropout": 0.4, "dropout_at": dropout_at}
    model, block = build(backend, **options), BLOCKS[placement, dropout_at]
    expected = []
    for number in range(1, depth + 1):
        expected += [Affine, *(KINDS[c] for c in block[number == depth].split())]
    assert [type(layer) for layer in model.layers] == [*expected, Affine]
    # Its number, which draws its masks, is that of the hidden layer.
    for at, layer in enumerate(model.layers):
        if isinstance(layer, Dropout):
            number = sum(isinstance(below, Affine) for below in model.layers[:at])
            x = np.ones((2, 30, WIDTH))
            same, other = (Dropout(0.4, (0, 1), n, backend) for n in (number, number + 1))
            masks = [
                backend.to_host(la.forward(backend.asarray(x), training=True, track=False)[0])
                for la in (layer, same, other)
            ]
            assert (masks[0] == masks[1]).all()
            assert (masks[0] != masks[2]).any()


@pytest.mark.parametrize("dropout_at", DROPPED_AT)
def test_a_rate_of_0_is_no_layer(backend, dropout_at):
    model = build(backend, placement="before", dropout_at=dropout_at)
    assert model.layers_of(Dropout) == []


def test_the_layers_and_caches_of_a_kind(backend, rng):
    model = build(backend, placement="before", depth=3, dropout=0.5, dropout_at="last")
    _, caches = model.forward(examples(rng, backend, 2)[0], training=True)
    for kind, places in (
        (Affine, [0, 3, 6, 10]),
        (BatchNorm, [1, 4, 7]),
        (Activation, [2, 5, 8]),
        (Dropout, [9]),
        (int, []),
    ):
        assert [id(layer) for layer in model.layers_of(kind)] == [
            id(model.layers[i]) for i in places
        ]
        assert [id(c) for c in model.caches_of(kind, caches)] == [id(caches[i]) for i in places]
    assert [id(a) for a in model.activations(caches)] == [id(caches[i]) for i in (2, 5, 8)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("placement", ["before", "after"])
def test_ghost_batches_by_hand(backend, rng, placement, activation):
    """In training: every four examples by their own statistics, whatever runs as one."""
    model = build(backend, placement=placement, activation=activation, ghost=4, eps=0.01)
    shake(model, rng, backend)
    x, _ = examples(rng, backend, 2)
    h = backend.to_host(x)
    function = {
        "relu": lambda z: np.maximum(z, 0),
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "linear": lambda z: z,
    }[activation]
    for layer in model.layers:
        p = {name: backend.to_host(value)[:, None] for name, value in layer.params.items()}
        if isinstance(layer, Affine):
            h = h @ p["weight"][:, 0] + p["bias"]
        elif isinstance(layer, Activation):
            h = function(h)
        else:
            halves = [h[:, :4], h[:, 4:]]
            z = [
                (a - a.mean(axis=1, keepdims=True)) / np.sqrt(a.var(axis=1, keepdims=True) + 0.01)
                for a in halves
            ]
            h = np.concatenate(z, axis=1) * p["gamma"] + p["beta"]
    logits, _ = model.forward(x, training=True)
    np.testing.assert_allclose(backend.to_host(logits), h, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dropout_at", DROPPED_AT)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_dropout_by_hand(backend, rng, placement, dropout_at):
    """The logits from the weights, and masks found by passing ones through each dropout layer."""
    options = {"placement": placement, "dropout": 0.4, "dropout_at": dropout_at}
    model = build(backend, **options)
    shake(model, rng, backend)
    x, _ = examples(rng, backend, 2)
    h = backend.to_host(x)
    for layer in model.layers:
        p = {name: backend.to_host(value) for name, value in layer.params.items()}
        if isinstance(layer, Affine):
            h = h @ p["weight"] + p["bias"][:, None]
        elif isinstance(layer, Activation):
            h = np.tanh(h)
        elif isinstance(layer, BatchNorm):
            h = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-5)
            h = h * p["gamma"][:, None] + p["beta"][:, None]
        else:
            ones = backend.asarray(np.ones_like(h))
            h = h * backend.to_host(layer.forward(ones, training=True, track=False)[0])
    logits, _ = model.forward(x, training=True, track=False)
    np.testing.assert_allclose(backend.to_host(logits), h, rtol=1e-9, atol=1e-11)
    again, _ = model.forward(x, training=True, track=False)
    assert backend.to_host(again).tobytes() == backend.to_host(logits).tobytes()
    tracked, _ = model.forward(x, training=True)
    assert (backend.to_host(tracked) != backend.to_host(logits)).any()


@pytest.mark.parametrize("dropout_at", DROPPED_AT)
def test_inference_knows_no_dropout(backend, same_bits, rng, dropout_at):
    x, _ = examples(rng, backend, 2)
    plain, dropped = (
        build(backend, placement="before", dropout=rate, dropout_at=dropout_at).forward(
            x, training=False
        )[0]
        for rate in (0.0, 0.5)
    )
    same_bits(dropped, plain)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_dtypes(backend, rng, placement, dtype):
    model = build(backend, placement=placement, depth=3, seeds=range(4), dtype=dtype)
    weights = [la.params["weight"].shape for la in model.layers if isinstance(la, Affine)]
    assert weights == [(4, 4, 5), (4, 5, 5), (4, 5, 5), (4, 5, 3)]
    norms = [la for la in model.layers if isinstance(la, BatchNorm)]
    assert [la.params["gamma"].shape for la in norms] == [(4, 5)] * len(norms)
    x, labels = examples(rng, backend, 4, dtype)
    loss, gradients = loss_and_gradients(model, x, labels)
    assert loss.shape == (4,)
    assert loss.dtype == dtype
    assert model.forward(x, training=False)[0].shape == (4, N, CLASSES)
    for layer, of_layer in zip(model.layers, gradients, strict=True):
        expected = {k: (v.shape, v.dtype) for k, v in layer.params.items()}
        assert {k: (v.shape, v.dtype) for k, v in of_layer.items()} == expected
        assert all(v.dtype == dtype for v in of_layer.values())


def test_weights_come_from_the_initialiser_and_biases_are_0(backend):
    model = build(backend, depth=2, seeds=(7, 2))
    affines = [layer for layer in model.layers if isinstance(layer, Affine)]
    for i, (layer, fans) in enumerate(zip(affines, [(4, 5), (5, 5), (5, 3)], strict=True)):
        expected = draw_weight("glorot_normal", *fans, (7, 2), i)
        assert (backend.to_host(layer.params["weight"]) == expected).all()
        assert not backend.to_host(layer.params["bias"]).any()


SCALED = (
    InitConfig(kind="normal", scale=5.0, scaled="hidden"),
    InitConfig(kind="normal", scale=5.0),
    InitConfig(kind="glorot_normal", scale=0.1, scaled="hidden", per_sqrt_fan_in=True),
    InitConfig(kind="he_normal", scaled="hidden"),
)


@pytest.mark.parametrize("chosen", [SCALED, *SCALED], ids=repr)
@pytest.mark.parametrize("depth", [1, 3])
def test_only_the_weights_of_the_layers_that_are_named_are_scaled(backend, depth, chosen):
    inits = [chosen] * 4 if isinstance(chosen, InitConfig) else chosen
    model = build_mlp(
        ModelConfig(depth=depth, width=WIDTH),
        NormConfig(),
        chosen,
        features=FEATURES,
        classes=CLASSES,
        seeds=(0, 1, 0, 7),
        backend=backend,
        dtype="float64",
    )
    sizes = [FEATURES, *[WIDTH] * depth, CLASSES]
    for i, layer in enumerate(model.layers_of(Affine)):
        weight = backend.to_host(layer.params["weight"])
        for found, init, seed in zip(weight, inits, (0, 1, 0, 7), strict=True):
            factor = 1 if init.scaled == "hidden" and i == depth else init.scale
            options = {"scale": factor, "per_sqrt_fan_in": init.per_sqrt_fan_in}
            right = draw_weight(init.kind, sizes[i], sizes[i + 1], [seed], i, **options)
            assert found.tobytes() == right.tobytes()
    assert [init.scale for init in SCALED] == [5.0, 5.0, 0.1, 1.0]  # nobody wrote to them


def test_every_option_of_the_initialiser_and_of_batch_norm_arrives(backend, rng):
    init = InitConfig(
        kind="uniform", low=-3.0, high=2.0, scale=0.5, per_sqrt_fan_in=True, name="any"
    )
    norm = NormConfig(
        "any",
        "before",
        learnable=False,
        eps=0.25,
        momentum=0.5,
        correction=1,
        average="std",
        initial_spread=3.0,
        initial_beta=1.0,
    )
    model = build_mlp(
        ModelConfig(depth=1, width=WIDTH),
        norm,
        init,
        features=FEATURES,
        classes=CLASSES,
        seeds=[3],
        backend=backend,
        dtype="float64",
    )
    weight = draw_weight(
        "uniform", FEATURES, WIDTH, [3], 0, low=-3.0, high=2.0, scale=0.5, per_sqrt_fan_in=True
    )
    assert (backend.to_host(model.layers[0].params["weight"]) == weight).all()
    x, _ = examples(rng, backend, 1)
    z = backend.to_host(x) @ weight
    _, caches = model.forward(x, training=True)
    expected = np.tanh((z - z.mean(axis=1)) / np.sqrt(z.var(axis=1, ddof=1) + 0.25))
    np.testing.assert_allclose(backend.to_host(model.activations(caches)[0]), expected, rtol=1e-11)
    layer = model.layers[1]
    assert layer.params == {}
    spread = 0.5 * 3.0 + 0.5 * z.std(axis=1, ddof=1)
    np.testing.assert_allclose(backend.to_host(layer.running_var), spread**2, rtol=1e-12)


def test_every_option_of_ghost_batch_norm_arrives(backend, rng):
    options = {"correction": 1, "average": "std", "initial_spread": 3.0, "learnable": False}
    model = build(backend, placement="before", depth=1, ghost=4, eps=0.25, momentum=0.5, **options)
    x, _ = examples(rng, backend, 2)
    z = backend.to_host(x) @ backend.to_host(model.layers[0].params["weight"])
    halves = z.reshape(2, 2, 4, WIDTH)
    _, caches = model.forward(x, training=True)
    expected = np.tanh(
        (halves - halves.mean(axis=2, keepdims=True))
        / np.sqrt(halves.var(axis=2, ddof=1, keepdims=True) + 0.25)
    ).reshape(z.shape)
    np.testing.assert_allclose(
        backend.to_host(model.activations(caches)[0]), expected, rtol=1e-10, atol=1e-12
    )
    layer = model.layers[1]
    assert layer.params == {}
    spread = 0.5 * 3.0 + 0.5 * halves.std(axis=2, ddof=1).mean(axis=1)
    np.testing.assert_allclose(backend.to_host(layer.running_var), spread**2, rtol=1e-12)


def test_the_initial_beta_arrives_in_every_layer(backend):
    model = build(backend, placement="after", depth=3, initial_beta=1.0, seeds=(0, 1))
    for layer in model.layers_of(BatchNorm):
        assert backend.to_host(layer.params["beta"]).tolist() == [[1.0] * WIDTH] * 2
        assert backend.to_host(layer.params["gamma"]).tolist() == [[1.0] * WIDTH] * 2


@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_the_loss(backend, xp, rng, activation, placement, correction, learnable):
    options = {"correction": correction, "learnable": learnable, "eps": 1e-2}
    check_gradient_of_the_loss(
        build(backend, activation=activation, placement=placement, **options), backend, xp, rng
    )


@pytest.mark.parametrize("dropout_at", DROPPED_AT)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradient_of_the_loss_with_dropout(backend, xp, rng, activation, placement, dropout_at):
    options = {"dropout": 0.3, "dropout_at": dropout_at, "eps": 1e-2}
    model = build(backend, activation=activation, placement=placement, **options)
    check_gradient_of_the_loss(model, backend, xp, rng, track=False)


@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_the_loss_with_ghost_batches(
    backend, xp, rng, activation, placement, learnable
):
    options = {"ghost": 4, "learnable": learnable, "eps": 1e-2}
    model = build(backend, activation=activation, placement=placement, **options)
    check_gradient_of_the_loss(model, backend, xp, rng)


def check_gradient_of_the_loss(model, backend, xp, rng, **options):
    shake(model, rng, backend)
    x, labels = examples(rng, backend, 2)
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
        return loss_and_gradients(model, x, labels, **options)[0]

    def vjp(dloss):
        unpack(vector)
        _, gradients = loss_and_gradients(model, x, labels, dloss, **options)
        found = [g[name] for layer, g in zip(model.layers, gradients, strict=True) for name in g]
        assert [name for g in gradients for name in g] == [name for _, name in places]
        return [xp.concatenate([g.ravel() for g in found])]

    # A small step keeps clear of the kinks of relu.
    for _ in range(3):
        check_gradient(loss, vjp, [vector], rng=rng, eps=1e-5, rtol=1e-7)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("dropout", "ghost"), [(0.0, 0), (0.3, 0), (0.0, 4)])
def test_a_replica_alone_gives_the_same_bits_as_stacked(
    backend, same_bits, rng, dropout, ghost, placement, dtype
):
    options = {"placement": placement, "dropout": dropout, "dtype": dtype, "ghost": ghost}
    stack = build(backend, seeds=(3, 0, 8), **options)
    x, labels = examples(rng, backend, 3, dtype)
    loss, gradients = loss_and_gradients(stack, x, labels)
    for r, seed in enumerate((3, 0, 8)):
        alone = build(backend, seeds=[seed], **options)
        loss_r, gradients_r = loss_and_gradients(alone, x[[r]], labels[[r]])
        same_bits(loss_r, loss[[r]])
        for one, all_of_them in zip(gradients_r, gradients, strict=True):
            for name in one:
                same_bits(one[name], all_of_them[name][[r]])


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_broken_replica_leaves_the_others_alone(backend, rng, placement):
    sound, broken = (build(backend, placement=placement, seeds=range(3)) for _ in "12")
    x, labels = examples(rng, backend, 3)
    _, expected = loss_and_gradients(sound, x, labels)
    broken.layers[0].params["weight"][1] = float("nan")
    loss, found = loss_and_gradients(broken, x, labels)
    assert np.isnan(backend.to_host(loss)).tolist() == [False, True, False]
    for one, other in zip(found, expected, strict=True):
        for name in one:
            a, b = backend.to_host(one[name]), backend.to_host(other[name])
            assert (a[[0, 2]] == b[[0, 2]]).all()


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("training", [True, False])
def test_one_input_shared_by_all_replicas(backend, xp, same_bits, rng, placement, training):
    model = build(backend, placement=placement, seeds=range(3))
    x, _ = examples(rng, backend, 1)
    shared, caches = model.forward(x[0], training=training, track=False)
    repeated, _ = model.forward(xp.concatenate([x] * 3), training=training, track=False)
    assert shared.shape == (3, N, CLASSES)
    same_bits(shared, repeated)
    assert [a.shape for a in model.activations(caches)] == [(3, N, WIDTH)] * 2


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_track_false_leaves_the_running_statistics(backend, rng, placement):
    model = build(backend, placement=placement)
    x, _ = examples(rng, backend, 2)
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    model.forward(x, training=True, track=False)
    assert all((backend.to_host(layer.running_mean) == 0).all() for layer in norms)
    model.forward(x, training=True)
    assert all((backend.to_host(layer.running_mean) != 0).any() for layer in norms)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_activations_are_what_comes_out_of_the_activation(backend, rng, placement):
    model = build(backend, placement=placement)
    x, _ = examples(rng, backend, 2)
    logits, caches = model.forward(x, training=True)
    h, expected = backend.to_host(x), []
    normalise = lambda a: (  # noqa: E731
        (a - a.mean(axis=1, keepdims=True)) / np.sqrt(a.var(axis=1, keepdims=True) + 1e-5)
    )
    affines = [la.params for la in model.layers if isinstance(la, Affine)]
    weights = [backend.to_host(params["weight"]) for params in affines]
    for weight in weights[:-1]:
        h = h @ weight
        h = np.tanh(normalise(h) if placement == "before" else h)
        expected.append(h)
        h = normalise(h) if placement == "after" else h
    found = model.activations(caches)
    assert len(found) == 2
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(backend.to_host(a), b, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(backend.to_host(logits), h @ weights[-1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ghost", [0, 2, N])
@pytest.mark.parametrize("placement", ["before", "after"])
def test_a_step_goes_down_the_gradient(backend, rng, placement, ghost):
    """Layer by layer, as training does, against all gradients first."""
    one, other = (build(backend, placement=placement, ghost=ghost) for _ in "12")
    x, labels = examples(rng, backend, 2)
    rates = np.array([0.5, 0.25])
    _, gradients = loss_and_gradients(one, x, labels)
    logits, caches = other.forward(x, training=True)
    _, cache = softmax_cross_entropy(logits, labels)
    other.descend(softmax_cross_entropy_backward(cache), caches, backend.asarray(rates))
    for before, of_layer, after in zip(one.layers, gradients, other.layers, strict=True):
        assert sorted(of_layer) == sorted(after.params)
        for name, gradient in of_layer.items():
            start, g = backend.to_host(before.params[name]), backend.to_host(gradient)
            expected = start - rates.reshape(-1, *[1] * (g.ndim - 1)) * g
            np.testing.assert_allclose(
                backend.to_host(after.params[name]), expected, rtol=1e-10, atol=1e-13
            )


# One configuration a replica ----------------------------------------------------------------------

ARMS = (
    ({}, {}, {}),
    ({"dropout": 0.7}, {"eps": 0.0, "momentum": 1.0}, {"kind": "normal", "std": 0.4}),
    (
        {"name": "mine"},
        {"initial_beta": -1.0, "initial_spread": 3.0},
        {"scale": 5.0, "scaled": "hidden"},
    ),
)


def arms(
    backend,
    chosen,
    *,
    seeds,
    placement="before",
    dropout_at="end",
    dtype="float64",
    drops=0.3,
    ghost=0,
):
    model = {"depth": 2, "width": WIDTH, "dropout": drops, "dropout_at": dropout_at}
    configs = [
        (
            ModelConfig(**model | {k: v for k, v in of_model.items() if drops or k != "dropout"}),
            NormConfig(placement, placement, ghost=ghost, **norm),
            InitConfig(**init),
        )
        for of_model, norm, init in chosen
    ]
    return build_mlp(
        *zip(*configs, strict=True),
        features=FEATURES,
        classes=CLASSES,
        seeds=seeds,
        backend=backend,
        dtype=dtype,
    )


@pytest.mark.parametrize(
    ("dropout_at", "ghost"), [*((at, 0) for at in DROPPED_AT), ("end", 2)], ids=str
)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_replicas_of_different_configurations_are_as_alone(
    backend, same_bits, rng, dtype, placement, dropout_at, ghost
):
    options = {"placement": placement, "dropout_at": dropout_at, "dtype": dtype, "ghost": ghost}
    together = arms(backend, ARMS, seeds=[4, 0, 4], **options)
    singles = [
        arms(backend, [arm], seeds=[seed], **options)
        for arm, seed in zip(ARMS, (4, 0, 4), strict=True)
    ]
    x, labels = examples(rng, backend, 3, dtype)
    for _ in range(2):
        loss, gradients = loss_and_gradients(together, x, labels)
        for r, single in enumerate(singles):
            here = slice(r, r + 1)
            alone, of_alone = loss_and_gradients(single, x[here], labels[here])
            same_bits(loss[here], alone)
            for one, other in zip(gradients, of_alone, strict=True):
                for name in one:
                    same_bits(one[name][here], other[name])
    for r, single in enumerate(singles):
        y, _ = together.forward(x, training=False)
        same_bits(y[r : r + 1], single.forward(x[r : r + 1], training=False)[0])


SOME = [slice(0, 1), slice(1, 3), slice(0, 3)]


@pytest.mark.parametrize("some", SOME, ids=str)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("drops", "ghost"), [(0.0, 0), (0.3, 0), (0.0, 2)])
def test_a_part_of_a_network_computes_as_in_the_whole(
    backend, same_bits, rng, placement, drops, ghost, some
):
    options = {"placement": placement, "drops": drops, "ghost": ghost}
    whole = arms(backend, ARMS, seeds=[4, 0, 4], **options)
    part = whole.select(some)
    assert [type(layer) for layer in part.layers] == [type(layer) for layer in whole.layers]
    x, _ = examples(rng, backend, 3)
    whole.forward(x, training=True)  # moves the running statistics, which the part shares
    for training in (True, False):
        y, caches = whole.forward(x, training=training, track=False)
        same_bits(part.forward(x[some], training=training, track=False)[0], y[some])
    y, caches = whole.forward(x, training=True, track=False)
    own = [select_from_cache(cache, some) for cache in caches]
    if ghost and placement != "none":  # whose caches hold groups
        own = part.forward(x[some], training=True, track=False)[1]
    gradients = whole.backward(y, caches)
    of_part = part.backward(y[some], own)
    for one, other in zip(gradients, of_part, strict=True):
        assert sorted(one) == sorted(other)
        for name in one:
            same_bits(one[name][some], other[name])
    for layer in part.layers:
        for value in layer.params.values():
            value[...] = 7
    inside = [r in range(3)[some] for r in range(3)]
    for layer in whole.layers:
        for value in layer.params.values():
            assert [(v == 7).all() for v in backend.to_host(value)] == inside


@pytest.mark.parametrize("some", SOME, ids=str)
def test_a_part_of_a_cache_is_a_view(backend, rng, some):
    model = arms(backend, ARMS, seeds=[4, 0, 4])
    _, caches = model.forward(examples(rng, backend, 3)[0], training=True)
    parts = [select_from_cache(cache, some) for cache in caches]
    for cache, part in zip(caches, parts, strict=True):
        assert type(part) is type(cache)
        of_whole, of_part = ([c] if hasattr(c, "ndim") else [*c] for c in (cache, part))
        for one, other in zip(of_whole, of_part, strict=True):
            if hasattr(one, "ndim"):
                assert (backend.to_host(one[some]) == backend.to_host(other)).all()
                assert namespace(one).shares_memory(one, other)
            else:
                assert other == one
    norm = model.caches_of(BatchNorm, parts)[0]
    assert norm.var.shape == (len(range(3)[some]), WIDTH)
    assert select_from_cache(None, some) is None
