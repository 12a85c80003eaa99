"""Companions: an example's output in every batch, worked out one batch at a time."""

import numpy as np
import pytest

from gpubn.config import OptimConfig
from gpubn.errors import ConfigError
from gpubn.experiments import Context, get
from gpubn.experiments.probes import companions
from gpubn.experiments.probes.companions import Companions
from gpubn.experiments.training import trainer
from gpubn.nn.rng import generator
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import DATA, EPS, NUMPY

DRAWS, EXAMPLES = 5, 4


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in (("DRAWS", DRAWS), ("EXAMPLES", EXAMPLES), ("CHUNK", 7)):
        monkeypatch.setattr(companions, name, value)


def rms(values):
    return np.mean(np.square(values)) ** 0.5


@pytest.mark.parametrize("placement", ["before", "after"])
def test_scatter_over_the_companions_of_a_batch(placement, monkeypatch):
    monkeypatch.setattr(companions, "LARGE", 2)
    network = by_hand.build(placement, depth=1)
    before = by_hand.state(network)

    def forward(r, z):
        """(normalised values, logits) of examples (N, D) that are a batch."""
        p = by_hand.parameters(network, r)
        of_norm = next(q for q in p if "gamma" in q)
        x = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + EPS)
        h = of_norm["gamma"] * x + of_norm["beta"]
        h = np.tanh(h) if placement == "before" else h
        return x, h @ p[-1]["weight"] + p[-1]["bias"]

    def scatters(r):
        found, spreads = {"output_scatter_running": 0.0}, []
        x, _ = by_hand.own(network, r, "test")
        z = by_hand.forward(network, r, x)[1 if placement == "before" else 2][1]
        own, others = z[:EXAMPLES], z[EXAMPLES:]
        for n in (2, 8):  # of 26 others
            g = generator(network.seeds[r], "companions", n - 1)
            draws = [others[g.choice(len(others), n - 1, replace=False)] for _ in range(DRAWS)]
            batches = [[forward(r, np.stack([e, *drawn])) for e in own] for drawn in draws]
            units, logits = (
                np.array([[part[k][0] for part in batch] for batch in batches]) for k in (0, 1)
            )
            spread = rms(logits.mean(axis=0).std(axis=0))
            spreads.append(rms(logits.std(axis=0, ddof=1)) / spread)
            classes = logits.argmax(axis=-1)
            found[f"output_scatter[{n}]"] = spreads[-1]
            found[f"normalised_scatter[{n}]"] = rms(units.std(axis=0, ddof=1))
            found[f"class_changes[{n}]"] = np.mean([len({*of_one}) > 1 for of_one in classes.T])
        found["scatter_slope"] = np.log(spreads[1] / spreads[0]) / np.log(4)
        return {(metric, None): value for metric, value in found.items()}

    one, _ = by_hand.check(Companions(), network, scatters)
    assert one["output_scatter[2]", None] > one["output_scatter[8]", None] > 0
    assert by_hand.state(network) == before


def test_it_is_measured_at_the_end_of_a_training(monkeypatch):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    config = by_hand.build("before", depth=1, train_examples=0).config
    config.name, config.seeds = "companions", 7
    rows = get("companions").run(config, Context(NUMPY))
    assert {r.step for r in rows if r.metric.startswith("output_scatter")} == {10}
    assert np.isnan([r.value for r in rows if r.metric == "scatter_slope"]).all()  # 8 alone
    assert [*Companions().at(OptimConfig(steps=9))] == [9]


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
    config.name = "companions"
    with pytest.raises(ConfigError, match=f"companions got {text}; expected a batchnorm with"):
        get("companions").run(config, Context(NUMPY))
