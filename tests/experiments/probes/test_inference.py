"""Statistics for inference: every kind against plain NumPy, one network at a time."""

import numpy as np
import pytest

from gpubn.errors import ConfigError
from gpubn.experiments import Context, get
from gpubn.experiments.probes import inference
from gpubn.experiments.probes.inference import InferenceModes
from gpubn.experiments.training import trainer
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import DATA, EPS, NUMPY, SEEDS

PLACEMENTS = ["before", "after"]
BATCH, WIDTH = 6, 4
MOMENTA = (0.001, 0.01, 0.1, 0.5, 1.0)


def network_of(placement, **options):
    usual = {"depth": 1, "batch": BATCH, "steps": 12, "min_rate": 0.01}
    return by_hand.build(placement, **usual | options)


def follow(network, probe, batches):
    """Let the probe see training passes over these rows, without updates."""
    for rows in batches:
        x = np.stack([network.dataset.x_train[r] for r in rows]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])


def draw_batches(count):
    rng = np.random.default_rng(2)
    return [[rng.permutation(40)[:BATCH] for _ in SEEDS] for _ in range(count)]


def into_norm(network, r, x):
    """What the batchnorm of replica r gets for examples x."""
    place = 1 if network.config.norm.placement == "before" else 2
    return by_hand.forward(network, r, x)[place][1]


def score(network, r, normalised, labels):
    """Loss and accuracy behind the batchnorm."""
    of_norm = next(p for p in by_hand.parameters(network, r) if "gamma" in p)
    h = of_norm["gamma"] * normalised + of_norm["beta"]
    h = np.tanh(h) if network.config.norm.placement == "before" else h
    last = by_hand.parameters(network, r)[-1]
    logits = h @ last["weight"] + last["bias"]
    return by_hand.nats(logits, labels), (logits.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize(
    ("placement", "correction", "sample"), [("before", 0, 0), ("before", 1, 32), ("after", 0, 32)]
)
def test_every_kind_of_statistics(monkeypatch, placement, correction, sample):
    monkeypatch.setattr(inference, "CHUNK", 7)  # as far as one goes: the training set has 40
    network = network_of(placement, correction=correction, train_examples=sample)
    probe, batches, expected = InferenceModes(), draw_batches(9), {}
    follow(network, probe, batches)

    def expect(metric, value):
        expected.setdefault((metric, None), []).append(value)

    for r in range(2):
        x, labels = by_hand.own(network, r, "test")
        z, whole = into_norm(network, r, x), into_norm(network, r, by_hand.own(network, r)[0])
        assert len(whole) == (sample or 40)
        kinds = {"never": (np.zeros(WIDTH), np.ones(WIDTH))}
        for a, ddof in (*((a, 1) for a in MOMENTA), (0.01, 0)):
            mean, var = kinds["never"]
            for batch in batches:
                of_batch = into_norm(network, r, DATA.x_train[batch[r]])
                mean = (1 - a) * mean + a * of_batch.mean(axis=0)
                var = (1 - a) * var + a * of_batch.var(axis=0, ddof=ddof)
            kinds[f"{'moving' if ddof else 'biased'}[{a:g}]"] = mean, var
        end = len(whole) // BATCH * BATCH  # a rest is left out
        parts = [whole[i : i + BATCH] for i in range(0, end, BATCH)]
        unbiased = np.mean([p.var(axis=0, ddof=1) for p in parts], axis=0)
        kinds["population"] = np.mean([p.mean(axis=0) for p in parts], axis=0), unbiased
        for kind, (mean, var) in kinds.items():
            loss, accuracy = score(network, r, (z - mean) / np.sqrt(var + EPS), labels)
            expect(f"test_loss:{kind}", loss)
            expect(f"test_accuracy:{kind}", accuracy)
            off = (((mean - whole.mean(axis=0)) / whole.std(axis=0)) ** 2).mean()
            ratio = ((var / whole.var(axis=0) - 1) ** 2).mean()
            expect(f"mean_error:{kind}", off**0.5)
            expect(f"var_error:{kind}", ratio**0.5)
            expect(f"statistics_error:{kind}", (off + ratio) ** 0.5)
        for n in (1, 2, 8):  # 30 test examples, of which 6 do not fill a batch of 8
            end = len(z) // n * n
            parts = [z[i : i + n] for i in range(0, end, n)]
            normed = [(p - p.mean(axis=0)) / np.sqrt(p.var(axis=0) + EPS) for p in parts]
            loss, accuracy = score(network, r, np.concatenate(normed), labels[:end])
            expect(f"test_loss:batch[{n}]", loss)
            expect(f"test_accuracy:batch[{n}]", accuracy)
    by_hand.check(by_hand.measured(probe, network, 9), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_in_training(monkeypatch, placement):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    config = network_of(placement, momentum=0.5, train_examples=0).config
    config.name, config.seeds = "inference", 7
    rows = get("inference").run(config, Context(NUMPY))
    steps = {r.step for r in rows if ":" in r.metric}
    assert steps == {1, 2, 5, 10, 12}
    assert len({(r.metric, r.step, r.seed) for r in rows}) == len(rows)
    # The layer itself keeps the average of this momentum, so its evaluation is the same.
    for what in ("loss", "accuracy"):
        layers, followed = (
            {r.seed: r.value for r in rows if (r.metric, r.step) == (f"test_{what}{kind}", 12)}
            for kind in ("", ":moving[0.5]")
        )
        assert layers == pytest.approx(followed, rel=1e-9)
    config.seeds = 1  # a group of its own gives every seed the same rows
    assert {*get("inference").run(config, Context(NUMPY))} == {r for r in rows if r.seed == 2}


@pytest.mark.parametrize(
    ("placement", "options", "text"),
    [
        ("none", {}, r"norm=none and model\.depth=1"),
        ("before", {"depth": 2}, r"norm=before and model\.depth=2"),
        ("after", {"learnable": False}, r"norm=after and model\.depth=1"),
    ],
)
def test_what_it_does_not_take(placement, options, text):
    config = by_hand.build(placement, **{"depth": 1, "train_examples": 0} | options).config
    with pytest.raises(ConfigError, match=f"inference got {text}; expected a batchnorm with gamma"):
        get("inference").run(config, Context(NUMPY))


def test_a_diverged_network_is_measured_without_a_warning(monkeypatch):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    config = network_of("before", rate=1e200, min_rate=1e200, train_examples=0).config
    config.dtype = "float32"
    rows = get("inference").run(config, Context(NUMPY))
    found = [r.value for r in rows if (r.metric, r.step) == ("test_loss:population", 12)]
    assert not np.isfinite(found).any()
