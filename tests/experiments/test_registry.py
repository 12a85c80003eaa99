"""The registry of experiments, and that it and `conf/` speak of the same things."""

import dataclasses
from pathlib import Path

import pytest

from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments import catalogue, get, names
from gpubn.experiments.training.trainer import training_experiment

CONF = Path(__file__).resolve().parents[2] / "conf"


def keys_of(kind, prefix=""):
    """Every key of the configuration, groups included."""
    for field in dataclasses.fields(kind):
        yield prefix + field.name
        group = field.default_factory
        if dataclasses.is_dataclass(group):
            yield from keys_of(group, f"{prefix}{field.name}.")


def test_the_names_are_those_of_the_files():
    files = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert sorted(files) == sorted(names())


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="experiment is 'mnist'; expected one of depth_grid, "):
        get("mnist")


@pytest.mark.parametrize("name", names())
def test_axes_and_identity_are_keys_of_the_configuration(name):
    experiment, known = get(name), set(keys_of(Config))
    assert experiment.name == name
    assert set(experiment.axes.values()) | set(experiment.keys) <= known
    # Where and how a cell runs is not part of its identity; `data` would take the root along.
    assert {"seeds", "first_seed", "dtype"} <= set(experiment.keys)
    assert not {"data", "data.root", "results", "force"} & set(experiment.keys)
    assert not [key for key in experiment.keys if key.startswith("backend")]
    one, five = (experiment.work(Config(seeds=n)) for n in (1, 5))
    assert five == 5 * one > 0
    params = (CONF / "experiment" / f"{name}.yaml").read_text().split("params:")[1].split()
    swept = {key.rstrip(":") for key in params if key.endswith(":")}
    columns = {key.removesuffix(".name") for key in experiment.axes.values()}
    assert set() < swept <= columns


def test_a_declaration_in_the_catalogue_is_enough(monkeypatch):
    made = training_experiment("one_more", {"norm": "norm.name"})
    monkeypatch.setattr(catalogue, "ONE_MORE", made, raising=False)
    assert get("one_more") is made
    assert "one_more" in names()
    assert made.code(Config())[0] == "gpubn.experiments.catalogue:ONE_MORE"
