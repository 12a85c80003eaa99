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

BATCH, WIDTH = 6, 4
MOMENTA = (0.001, 0.01, 0.1, 0.5, 1.0)


def network_of(placement, **options):
    usual = {"depth": 1, "batch": BATCH, "steps": 12, "min_rate": 0.01}
    return by_hand.build(placement, **usual | options)


def into_norm(network, r, x):
    """What the batchnorm of replica r gets for examples x."""
    place = 1 if network.config.norm.placement == "before" else 2
    return by_hand.forward(network, r, x)[place][1]


def scores(network, r, kind, normalised, labels):
    """Loss and accuracy behind the batchnorm."""
    of_norm = next(p for p in by_hand.parameters(network, r) if "gamma" in p)
    h = of_norm["gamma"] * normalised + of_norm["beta"]
    h = np.tanh(h) if network.config.norm.placement == "before" else h
    last = by_hand.parameters(network, r)[-1]
    logits = h @ last["weight"] + last["bias"]
    right = (logits.argmax(axis=1) == labels).mean()
    loss = by_hand.nats(logits, labels)
    return {(f"test_loss:{kind}", None): loss, (f"test_accuracy:{kind}", None): right}


@pytest.mark.parametrize(
    ("placement", "correction", "sample"), [("before", 0, 0), ("before", 1, 32), ("after", 0, 32)]
)
def test_every_kind_of_statistics(monkeypatch, placement, correction, sample):
    monkeypatch.setattr(inference, "CHUNK", 7)  # as far as one goes: the training set has 40
    network = network_of(placement, correction=correction, train_examples=sample)
    probe, rng = InferenceModes(), np.random.default_rng(2)
    batches = [[rng.permutation(40)[:BATCH] for _ in SEEDS] for _ in range(9)]
    for rows in batches:  # training passes over these, without updates
        x = np.stack([DATA.x_train[of_seed] for of_seed in rows]).astype(np.float64)
        probe.observe(network, network.model.forward(x, training=True)[1])

    def statistics(r, whole):
        """{kind: mean and variance}"""
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
        return kinds | {"population": (np.mean([p.mean(axis=0) for p in parts], axis=0), unbiased)}

    def of_replica(r):
        x, labels = by_hand.own(network, r, "test")
        z, whole = into_norm(network, r, x), into_norm(network, r, by_hand.own(network, r)[0])
        assert len(whole) == (sample or 40)
        found = {}
        for kind, (mean, var) in statistics(r, whole).items():
            found |= scores(network, r, kind, (z - mean) / np.sqrt(var + EPS), labels)
            off = (((mean - whole.mean(axis=0)) / whole.std(axis=0)) ** 2).mean()
            ratio = ((var / whole.var(axis=0) - 1) ** 2).mean()
            found[f"mean_error:{kind}", None] = off**0.5
            found[f"var_error:{kind}", None] = ratio**0.5
            found[f"statistics_error:{kind}", None] = (off + ratio) ** 0.5
        for n in (1, 2, 8):  # 30 test examples, of which 6 do not fill a batch of 8
            end = len(z) // n * n
            parts = [z[i : i + n] for i in range(0, end, n)]
            normed = [(p - p.mean(axis=0)) / np.sqrt(p.var(axis=0) + EPS) for p in parts]
            found |= scores(network, r, f"batch[{n}]", np.concatenate(normed), labels[:end])
        return found

    by_hand.check(probe, network, of_replica, 9)


@pytest.mark.parametrize("placement", ["before", "after"])
def test_in_training(monkeypatch, placement):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    config = network_of(placement, momentum=0.5, train_examples=0).config
    config.name, config.seeds = "inference", 7
    rows = get("inference").run(config, Context(NUMPY))
    steps = {r.step for r in rows if ":" in r.metric}
    assert steps == {1, 2, 5, 10, 12}
    # The layer itself keeps the average of this momentum, so its evaluation is the same.
    for what in ("loss", "accuracy"):
        layers, followed = (
            {r.seed: r.value for r in rows if (r.metric, r.step) == (f"test_{what}{kind}", 12)}
            for kind in ("", ":moving[0.5]")
        )
        assert layers == pytest.approx(followed, rel=1e-9)


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
