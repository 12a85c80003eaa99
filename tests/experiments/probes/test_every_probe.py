"""Every probe changes nothing, and looks at its own seed's examples alone."""

from dataclasses import replace
from functools import partial
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest

from gpubn.config import OptimConfig
from gpubn.experiments import Context, probes
from gpubn.experiments.probes.activations import Histograms, Percentiles, Saturation, UnitMeans
from gpubn.experiments.probes.base import Probe
from gpubn.experiments.probes.drift import Drift
from gpubn.experiments.probes.generalisation import Generalisation
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios
from gpubn.experiments.probes.normalisation import NormInputVariance, NormParameters, ZeroVariance
from gpubn.experiments.training import trainer
from gpubn.experiments.training.trainer import train_cells
from gpubn.nn.rng import example_order
from tests.experiments.cells import PLACEMENTS
from tests.experiments.probes import by_hand
from tests.experiments.probes.by_hand import DATA, NUMPY, SAMPLE, STEPS

ALL = {
    "Saturation": partial(Saturation, 3),
    "Percentiles": partial(Percentiles, 3),
    "UnitMeans": UnitMeans,
    "UpdateRatios": partial(UpdateRatios, 3),
    "Drift": partial(Drift, 3),
    "GradientShift": partial(GradientShift, 3),
    "NormParameters": partial(NormParameters, 3),
    "Histograms": partial(Histograms, 3),
    "Generalisation": partial(Generalisation, 3),
    "Generalisation by population": partial(Generalisation, 3, population=True),
    "ZeroVariance": ZeroVariance,
    "NormInputVariance": NormInputVariance,
}


def test_the_probes_above_are_all_there_are():
    modules = [import_module(f"{probes.__name__}.{m.name}") for m in iter_modules(probes.__path__)]
    kinds = [k for module in modules for k in vars(module).values() if isinstance(k, type)]
    found = {kind.__name__ for kind in kinds if issubclass(kind, Probe)}
    others = {"Probe", "Evenly", "InferenceModes"}  # the last sees batches from the first step on
    assert found == {*(name.split()[0] for name in ALL), *others}


@pytest.mark.parametrize("dropout_at", ["before_norm", "end"])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", ALL)
def test_a_probe_changes_nothing_that_training_feels(monkeypatch, name, placement, dropout_at):
    monkeypatch.setattr(trainer, "load", lambda *_: DATA)
    model = {"dropout": 0.3, "dropout_at": dropout_at}
    network = by_hand.build(placement, **model, batch=8)
    before = by_hand.state(network)
    if ALL[name] is not ZeroVariance:
        by_hand.measured(ALL[name](), network)
    assert by_hand.state(network) == before
    options = {"group": 2, "evaluated": 20}
    bare, probed = (
        train_cells([network.config], Context(NUMPY), probes=lambda _, p=probes: p(), **options)[0]
        for probes in (list, lambda: [ALL[name]()])
    )
    assert set(bare) <= set(probed)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", [name for name in ALL if name != "ZeroVariance"])
def test_a_probe_looks_at_no_training_example_of_others(name, placement):
    """NaN in every training example that the seed does not train on reaches no number."""
    found = []
    for spoilt in (False, True):
        network, probe = by_hand.build(placement, seeds=(5,)), ALL[name]()
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
