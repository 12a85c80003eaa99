"""Statistics for inference: every kind against plain NumPy, one network at a time."""

from math import log

import numpy as np
import pytest

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.data import Dataset
from gpubn.errors import ConfigError
from gpubn.experiments import Context, get
from gpubn.experiments.probes import inference
from gpubn.experiments.probes.base import Network, fetch_readings
from gpubn.experiments.probes.inference import InferenceModes
from gpubn.experiments.training import trainer
from gpubn.nn import optim
from gpubn.nn.model import build_mlp
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.rng import example_order
from gpubn.nn.train import to_device

PLACEMENTS = ["before", "after"]
NUMPY = resolve("numpy")
SEEDS, BATCH, EPS, WIDTH, CLASSES = (3, 8), 6, 1e-2, 4, 3
MOMENTA = (0.001, 0.01, 0.1, 0.5, 1.0)


def measured(probe, network, step):
    (rows,) = fetch_readings([[*probe.measure(network, step)]], network.backend)
    return rows


def examples():
    rng = np.random.default_rng(1)
    x, y = rng.random((90, 5)).astype(np.float32), rng.integers(0, CLASSES, 90)
    return Dataset("random", x[:50], y[:50], x[50:], y[50:], CLASSES)


DATA = examples()


def make(placement, **options):
    norm = {"eps": EPS, "correction": 0} | options.pop("norm", {})
    model = {"width": WIDTH} | options.pop("model", {})
    return Config(
        name="inference",
        data=DataConfig("digits", train_examples=options.pop("train_examples", 0)),
        model=ModelConfig(**model),
        norm=NormConfig(name=placement, placement=placement, **norm),
        init=InitConfig(kind="normal"),
        optim=OptimConfig(**{"batch": BATCH, "steps": 12} | options.pop("optim", {})),
        **{"dtype": "float64", "seeds": 2, "first_seed": 3, "every": 4} | options,
    )


def build(placement, *, dataset=DATA, **options):
    """A network whose parameters have left their initial values."""
    config = make(placement, **options)
    model = build_mlp(
        config.model,
        config.norm,
        config.init,
        features=dataset.features,
        classes=dataset.classes,
        seeds=SEEDS,
        backend=NUMPY,
        dtype="float64",
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for array in layer.params.values():
            array += rng.uniform(-0.5, 0.5, array.shape)
    sgd = optim.SGD(0.1, optim.constant_rate, 0.0, NUMPY, "float64")
    on_device = to_device(dataset, NUMPY, "float64")
    return Network(config, NUMPY, dataset, on_device, model, sgd, SEEDS)


def follow(network, probe, batches):
    """Let the probe see training passes over these rows, without updates."""
    for rows in batches:
        x = np.stack([DATA.x_train[r] for r in rows]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])


def draw_batches(count, seed=2):
    rng = np.random.default_rng(seed)
    return [[rng.permutation(50)[:BATCH] for _ in SEEDS] for _ in range(count)]


def values(rows, metric, step):
    return {r.seed: r.value for r in rows if (r.metric, r.step) == (metric, step)}


class Replica:
    """One network of one hidden layer, by hand, and the examples of its seed in their order."""

    def __init__(self, network, r):
        data, seed = network.dataset, network.seeds[r]
        sample = network.config.data.train_examples or None
        self.x_train = data.x_train[example_order(seed, "train", len(data.x_train))[:sample]]
        test = example_order(seed, "test", len(data.x_test))
        self.x_test, self.y_test = data.x_test[test], data.y_test[test]
        first, norm, second = (la for la in network.model.layers if la.params)
        self.w1, self.b1 = (first.params[name][r] for name in ("weight", "bias"))
        self.gamma, self.beta = (norm.params[name][r] for name in ("gamma", "beta"))
        self.w2, self.b2 = (second.params[name][r] for name in ("weight", "bias"))
        self.before = network.config.norm.placement == "before"

    def into_norm(self, x):
        z = x.astype(np.float64) @ self.w1 + self.b1
        return z if self.before else np.tanh(z)

    def score(self, normalised, labels):
        """Loss and accuracy behind the batchnorm."""
        h = self.gamma * normalised + self.beta
        logits = (np.tanh(h) if self.before else h) @ self.w2 + self.b2
        p = np.exp(logits)
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(len(labels)), labels]).mean()
        return loss, (logits.argmax(axis=1) == labels).mean()

    def with_statistics(self, mean, var, x, labels):
        return self.score((self.into_norm(x) - mean) / np.sqrt(var + EPS), labels)

    def with_batches(self, n, x, labels):
        """Of every n examples; a rest is left out."""
        z, whole = self.into_norm(x), len(x) // n * n
        parts = [z[i : i + n] for i in range(0, whole, n)]
        normed = [(p - p.mean(axis=0)) / np.sqrt(p.var(axis=0) + EPS) for p in parts]
        return self.score(np.concatenate(normed), labels[:whole])


@pytest.mark.parametrize("sample", [0, 32])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_kind_of_statistics(monkeypatch, placement, correction, sample):
    monkeypatch.setattr(inference, "CHUNK", 7)  # as far as one goes: the training set has 50
    network = build(placement, norm={"correction": correction}, train_examples=sample)
    probe = InferenceModes()
    batches = draw_batches(9)
    follow(network, probe, batches)
    rows, expected = measured(probe, network, 9), {}
    for r, seed in enumerate(SEEDS):
        net = Replica(network, r)
        x, labels = net.x_test, net.y_test
        whole = net.into_norm(net.x_train)
        true_mean, true_var = whole.mean(axis=0), whole.var(axis=0)
        kinds = {"never": (np.zeros(WIDTH), np.ones(WIDTH))}
        for a, ddof in (*((a, 1) for a in MOMENTA), (0.01, 0)):
            mean, var = np.zeros(WIDTH), np.ones(WIDTH)
            for batch in batches:
                z = net.into_norm(DATA.x_train[batch[r]])
                mean = (1 - a) * mean + a * z.mean(axis=0)
                var = (1 - a) * var + a * z.var(axis=0, ddof=ddof)
            kinds[f"{'moving' if ddof else 'biased'}[{a:g}]"] = mean, var
        assert len(whole) == (sample or 50)
        last = len(whole) // BATCH * BATCH  # a rest is left out
        parts = [whole[i : i + BATCH] for i in range(0, last, BATCH)]
        assert {len(part) for part in parts} == {BATCH}
        biased = np.mean([p.var(axis=0) for p in parts], axis=0)
        means = np.mean([p.mean(axis=0) for p in parts], axis=0)
        kinds["population"] = means, biased * BATCH / (BATCH - 1)
        for kind, (mean, var) in kinds.items():
            loss, accuracy = net.with_statistics(mean, var, x, labels)
            expected[f"test_loss:{kind}", seed] = loss
            expected[f"test_accuracy:{kind}", seed] = accuracy
            off = (mean - true_mean) / true_var**0.5
            expected[f"mean_error:{kind}", seed] = (off**2).mean() ** 0.5
            ratio = var / true_var - 1
            expected[f"var_error:{kind}", seed] = (ratio**2).mean() ** 0.5
            both = (off**2).mean() + (ratio**2).mean()
            expected[f"statistics_error:{kind}", seed] = both**0.5
        for n in (1, 2, 8, 32):  # 40 test examples
            loss, accuracy = net.with_batches(n, x, labels)
            expected[f"test_loss:batch[{n}]", seed] = loss
            expected[f"test_accuracy:batch[{n}]", seed] = accuracy
    assert {(r.metric, r.seed): r.value for r in rows} == pytest.approx(expected, rel=1e-9)
    assert len(rows) == len(expected)
    assert {(r.step, r.layer) for r in rows} == {(9, None)}


def test_the_batches_and_momenta_that_are_compared():
    assert inference.MOMENTA == MOMENTA
    assert inference.BATCHES == (1, 2, 8, 32, 128, 512, 2048)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_batch_of_one_leaves_beta_alone(placement):
    network, probe = build(placement), InferenceModes()
    follow(network, probe, draw_batches(1))
    rows = measured(probe, network, 1)
    for r, seed in enumerate(SEEDS):
        net = Replica(network, r)
        loss, accuracy = net.score(np.zeros((40, WIDTH)), net.y_test)
        assert values(rows, "test_loss:batch[1]", 1)[seed] == pytest.approx(loss, rel=1e-12)
        # The same answer for every example.
        shares = np.bincount(DATA.y_test, minlength=CLASSES) / 40
        assert accuracy in shares
        assert values(rows, "test_accuracy:batch[1]", 1)[seed] == pytest.approx(accuracy)
    for norm in network.model.layers_of(BatchNorm):
        norm.params["beta"][...] = 0
    network.model.layers[-1].params["weight"][...] = 0
    network.model.layers[-1].params["bias"][...] = 0
    rows = measured(probe, network, 2)
    assert list(values(rows, "test_loss:batch[1]", 2).values()) == pytest.approx([log(3)] * 2)


def test_the_population_variance_is_unbiased():
    """Over equal batches of the training set it is m/(m - 1) times the mean biased variance."""
    network, probe = build("before"), InferenceModes()
    follow(network, probe, draw_batches(1))
    whole, population = inference._of_training_set(network)
    m = BATCH
    for r in range(2):
        net = Replica(network, r)
        z = net.into_norm(net.x_train)
        np.testing.assert_allclose(whole.var[r], z.var(axis=0), rtol=1e-12)
        biased = np.mean([z[i * m : (i + 1) * m].var(axis=0) for i in range(8)], axis=0)
        np.testing.assert_allclose(population.var[r], biased * m / (m - 1), rtol=1e-12)
    # Without the factor of 1.2 the two would be 17% apart.
    assert abs(population.var.mean() / whole.var.mean() - 1) < 0.1


def by_class(count):
    """Examples in the order of their labels, which alone say what an example is like."""
    rng = np.random.default_rng(6)
    y = np.sort(rng.integers(0, CLASSES, count))
    x = (y[:, None] / CLASSES + 0.002 * rng.random((count, 5))).astype(np.float32)
    return Dataset("sorted", x, y, x[:40].copy(), y[:40], CLASSES)


def test_the_population_is_pooled_over_batches_in_a_random_order():
    """Batches in the order of such a file hardly vary, and their variances say nothing of all."""
    count, m = 500 * BATCH, BATCH
    dataset = by_class(count)
    network = build("before", dataset=dataset)
    _, population = inference._of_training_set(network)
    for r in range(2):
        net = Replica(network, r)
        z = net.into_norm(net.x_train)
        pooled = z.reshape(-1, m, WIDTH).var(axis=1, ddof=1).mean(axis=0)
        np.testing.assert_allclose(population.var[r], pooled, rtol=1e-11)
        in_file_order = net.into_norm(dataset.x_train).reshape(-1, m, WIDTH)
        assert (in_file_order.var(axis=1, ddof=1).mean(axis=0) < 0.1 * z.var(axis=0)).all()
        # An unbiased variance of m has a relative error of sqrt((k - (m - 3)/(m - 1))/m) for a
        # kurtosis of k <= 3, and there are count/m of them.
        off = 5 * ((3 - (m - 3) / (m - 1)) / count) ** 0.5
        np.testing.assert_allclose(population.var[r], z.var(axis=0), rtol=off)
    rows = fetch_readings([[*_with_one_batch(network).measure(network, 1)]], NUMPY)[0]
    assert max(values(rows, "var_error:population", 1).values()) < off < 0.2


def _with_one_batch(network):
    probe = InferenceModes()
    x = np.stack([network.dataset.x_train[:BATCH]] * 2).astype(np.float64)
    probe.observe(network, network.model.forward(x, training=True)[1])
    return probe


def test_momentum_1_follows_the_last_batch_alone():
    network, batches = build("before"), draw_batches(5)
    rows = []
    for part in (batches, batches[-1:]):
        probe = InferenceModes()
        follow(network, probe, part)
        rows.append(measured(probe, network, 5))
    for metric in ("test_loss", "mean_error", "var_error"):
        one, other = (values(r, f"{metric}:moving[1]", 5) for r in rows)
        assert one == pytest.approx(other, rel=1e-12)
        assert values(rows[0], f"{metric}:moving[0.5]", 5) != values(
            rows[1], f"{metric}:moving[0.5]", 5
        )


def test_when_it_measures():
    at = InferenceModes().at
    assert sorted(at(OptimConfig(steps=1))) == [1]
    assert sorted(at(OptimConfig(steps=12))) == [1, 2, 5, 10, 12]
    assert max(at(OptimConfig(steps=9000))) == 9000


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_in_training(monkeypatch, placement):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    config = make(placement, norm={"momentum": 0.5}, seeds=7)
    rows = get("inference").run(config, Context(NUMPY))
    kinds = (*(f"moving[{a:g}]" for a in MOMENTA), "biased[0.01]", "population", "never")
    errors = {f"{what}_error:{kind}" for what in ("mean", "var", "statistics") for kind in kinds}
    scores = {
        f"test_{what}:{kind}"
        for what in ("loss", "accuracy")
        for kind in (*kinds, *(f"batch[{n}]" for n in (1, 2, 8, 32)))
    }
    places = {(r.metric, r.step) for r in rows if ":" in r.metric}
    assert places == {(m, step) for m in errors | scores for step in (1, 2, 5, 10, 12)}
    keys = {(r.metric, r.step, r.seed) for r in rows}
    assert len(keys) == len(rows)
    assert {r.seed for r in rows} == set(range(3, 10))
    # The layer itself keeps the average of this momentum, so its evaluation is the same.
    for what in ("loss", "accuracy"):
        own, followed = (values(rows, f"test_{what}{kind}", 12) for kind in ("", ":moving[0.5]"))
        assert own == pytest.approx(followed, rel=1e-9)
    # A group of its own gives every seed the same rows.
    alone = get("inference").run(make(placement, norm={"momentum": 0.5}, seeds=1), Context(NUMPY))
    assert set(alone) == {r for r in rows if r.seed == 3}


@pytest.mark.parametrize(
    ("placement", "options", "text"),
    [
        ("none", {}, r"norm=none and model\.depth=1"),
        ("before", {"model": {"depth": 2}}, r"norm=before and model\.depth=2"),
        ("after", {"norm": {"learnable": False}}, r"norm=after and model\.depth=1"),
    ],
)
def test_what_it_does_not_take(placement, options, text):
    config = make(placement, **options)
    with pytest.raises(ConfigError, match=f"inference got {text}; expected a batchnorm with gamma"):
        get("inference").run(config, Context(NUMPY))


def test_a_diverged_network_is_measured_without_a_warning():
    config = make("before", optim={"rate": 1e200, "min_rate": 1e200}, dtype="float32")
    rows = get("inference").run(config, Context(NUMPY))
    assert list(values(rows, "diverged", 12).values()) == [1.0, 1.0]
    assert not np.isfinite(list(values(rows, "test_loss:population", 12).values())).any()
