"""Every probe changes nothing, and looks at its own seed's examples alone."""

from dataclasses import replace
from importlib import import_module
from inspect import signature
from pkgutil import iter_modules

import numpy as np
import pytest

from gpubn.config import OptimConfig
from gpubn.experiments import Context, probes
from gpubn.experiments.probes.activations import Saturation
from gpubn.experiments.probes.base import Evenly, Probe
from gpubn.experiments.probes.companions import Companions
from gpubn.experiments.probes.generalisation import Generalisation
from gpubn.experiments.probes.inference import InferenceModes
from gpubn.experiments.probes.normalisation import ZeroVariance
from gpubn.experiments.probes.step import OfStep
from gpubn.experiments.training import trainer
from gpubn.experiments.training.trainer import train_cells
from gpubn.nn.norms import KINDS
from gpubn.nn.rng import example_order
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import DATA, NUMPY, SAMPLE, STEPS

OTHERS = {Probe, Evenly, OfStep, ZeroVariance, InferenceModes, Companions}
"""Two measure what they saw of every batch, and nothing else; Companions
takes one layer alone."""
MODULES = [import_module(f"{probes.__name__}.{m.name}") for m in iter_modules(probes.__path__)]
FOUND = [kind for module in MODULES for kind in vars(module).values() if isinstance(kind, type)]
ALL = {kind.__name__: kind for kind in FOUND if issubclass(kind, Probe) and kind not in OTHERS}


def make(name):
    if name == "Generalisation by population":
        return Generalisation(3, population=True)
    return ALL[name](3) if signature(ALL[name]).parameters else ALL[name]()


every = pytest.mark.parametrize("name", [*ALL, "Generalisation by population"])


@every
@pytest.mark.parametrize("dropout_at", ["before_norm", "end"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_probe_changes_nothing_that_training_feels(monkeypatch, name, placement, dropout_at):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    network = by_hand.build(placement, dropout=0.3, dropout_at=dropout_at, batch=8)
    before = by_hand.state(network)
    by_hand.measured(make(name), network)
    assert by_hand.state(network) == before
    bare, probed = (
        train_cells([network.config], Context(NUMPY), probes=made, group=2, evaluated=20)[0]
        for made in (lambda config: (), lambda config: [make(name)])
    )
    assert set(bare) <= set(probed)


@every
@pytest.mark.parametrize(
    "options",
    [
        *({"norm_kind": kind} for kind in KINDS if kind not in ("batch", "ghost")),
        {"residual": True},
    ],
    ids=str,
)
def test_a_probe_takes_every_kind_and_finds_the_layers_inside_connections(name, options):
    network, probe = by_hand.build("before", depth=3, **options), make(name)
    probe.check(network.config)
    before = by_hand.state(network)
    found = by_hand.measured(probe, network)
    assert by_hand.state(network) == before
    plain = by_hand.measured(make(name), by_hand.build("before", depth=3))
    lacks = {"mean_only": ("gamma_mean", "gamma_std")}.get(options.get("norm_kind"), ())
    assert set(found) == {key for key in plain if key[0] not in lacks}


@every
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_probe_looks_at_no_training_example_of_others(name, placement):
    """NaN in every training example that the seed does not train on reaches no number."""
    found = []
    for spoilt in (False, True):
        network, probe = by_hand.build(placement, seeds=(5,)), make(name)
        if spoilt:
            x = network.data.x_train.copy()
            x[example_order(5, "train", 40)[SAMPLE:]] = np.nan
            network = replace(network, data=replace(network.data, x_train=x))
        for step in (0, STEPS):
            found.append(by_hand.measured(probe, network, step))
            network.model.layers[0].params["bias"] += 0.5
    assert found[:2] == found[2:]


@pytest.mark.parametrize("times", [1, 3, 8, 50])
def test_evenly_spaced_from_before_training_to_its_end(times):
    steps = sorted(Saturation(times).at(OptimConfig(steps=20)))
    assert (steps[0], steps[-1]) == (0, 20)
    gaps = np.diff(steps)
    assert len(gaps) == min(times, 20)
    assert gaps.max() - gaps.min() <= 1
