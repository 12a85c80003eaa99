"""The registry of experiments, and that it and `conf/` speak of the same things."""

import dataclasses
from pathlib import Path

import pytest

from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments import Experiment, catalogue, get, names
from gpubn.experiments.training.trainer import training_experiment

CONF = Path(__file__).resolve().parents[2] / "conf"


def keys_of(kind, prefix=""):
    """Every key of the configuration, groups included."""
    for field in dataclasses.fields(kind):
        yield prefix + field.name
        group = field.default_factory
        if dataclasses.is_dataclass(group):
            yield from keys_of(group, f"{prefix}{field.name}.")


@pytest.mark.parametrize("name", names())
def test_every_name_resolves(name):
    experiment = get(name)
    assert isinstance(experiment, Experiment)
    assert experiment.name == name
    assert get(name) is experiment


def test_the_names_are_those_of_the_files():
    files = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert files == set(names())
    assert len(names()) == len(set(names()))


def test_an_unknown_name_is_refused():
    text = f"experiment is 'mnist'; expected one of {', '.join(names())}"
    with pytest.raises(ConfigError, match=f"^{text}$"):
        get("mnist")
    with pytest.raises(ConfigError, match="experiment is ''"):
        get("")


@pytest.mark.parametrize("name", names())
def test_the_keys_of_axes_and_identity_exist(name):
    known = set(keys_of(Config))
    assert "norm.eps" in known
    experiment = get(name)
    assert set(experiment.axes.values()) <= known
    assert set(experiment.keys) <= known
    assert len(set(experiment.keys)) == len(experiment.keys)


@pytest.mark.parametrize("name", names())
def test_where_and_how_a_cell_runs_is_not_part_of_its_identity(name):
    groups = {key.split(".")[0] for key in get(name).keys}
    assert not groups & {"backend", "results", "force"}
    assert {"seeds", "first_seed", "dtype"} <= groups
    assert "data.root" not in get(name).keys
    assert "data" not in get(name).keys  # would take the root along


@pytest.mark.parametrize("name", names())
def test_the_axes_that_a_sweep_varies_are_columns(name):
    yaml = (CONF / "experiment" / f"{name}.yaml").read_text()
    params = yaml.split("params:")[1].split()
    swept = {key.rstrip(":") for key in params if key.endswith(":")}
    columns = {key.removesuffix(".name") for key in get(name).axes.values()}
    assert swept
    assert swept <= columns


@pytest.mark.parametrize("name", names())
def test_work_is_proportional_to_the_seeds(name):
    one, five = (get(name).work(Config(seeds=n)) for n in (1, 5))
    assert one > 0
    assert five == 5 * one


def test_a_declaration_in_the_catalogue_is_enough(monkeypatch):
    made = training_experiment("one_more", {"norm": "norm.name"})
    monkeypatch.setattr(catalogue, "ONE_MORE", made, raising=False)
    assert get("one_more") is made
    assert "one_more" in names()
    assert made.code(Config())[0] == "gpubn.experiments.catalogue:ONE_MORE"
