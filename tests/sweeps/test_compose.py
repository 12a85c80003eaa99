"""From conf/ to cells: every file of it, every grid, and the plans that remember them."""

import dataclasses
import itertools
import re
import shutil

import hydra
import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from gpubn import experiments
from gpubn.config import Config
from gpubn.errors import ConfigError
from gpubn.experiments import get
from gpubn.sweeps import compose
from gpubn.sweeps.cells import RUN_OPTIONS, _at
from gpubn.sweeps.compose import expand

EXPERIMENTS = sorted(path.stem for path in (compose.CONF / "experiment").glob("*.yaml"))
OPTIONS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted(compose.CONF.iterdir())
    if folder.is_dir() and folder.name not in ("experiment", "hydra")
}
ONE = ["experiment=mnist_init", "data=digits", "init=rand", "norm=none"]


def ids(cells):
    return [cell.id for cell in cells]


def number(text):
    """A number by its value, for 1.0e-5 becomes 1e-05; any other word as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def params(experiment):
    document = yaml.safe_load((compose.CONF / "experiment" / f"{experiment}.yaml").read_text())
    swept = document.get("hydra", {}).get("sweeper", {}).get("params", {})
    return {key: str(values).split(",") for key, values in swept.items()}


def test_every_experiment_has_its_file():
    assert sorted(experiments.names()) == EXPERIMENTS
    full = {path.stem for path in (compose.CONF / "experiment" / "full").iterdir()}
    assert full
    assert full <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_one_axis_of_every_experiment_expands(name):
    """Given single values replace swept axes; the whole grids are in test_experiments_run.py."""
    kept, *others = sorted(params(name).items(), key=lambda item: -len(item[1]))
    fixed = {key: values[-1] for key, values in others}
    cells = expand([f"experiment={name}", *(f"{key}={value}" for key, value in fixed.items())])
    assert len(set(ids(cells))) == len(cells) == len(kept[1])
    columns = {key: column for column, key in experiments.get(name).axes.items()}
    for key, values in [kept, *((key, [value]) for key, value in fixed.items())]:
        column = columns.get(key, columns.get(f"{key}.name"))
        assert {number(cell.axes[column]) for cell in cells} == set(map(number, values))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_grid_in_full_where_there_is_one(name):
    path = compose.CONF / "experiment" / "full" / f"{name}.yaml"
    assert compose.grid_override(name) == f"experiment={name}"
    assert compose.grid_override(name, full=True) == f"experiment={'full/' * path.exists()}{name}"
    if not path.exists():
        return
    wider = params(f"full/{name}")
    one = [f"{key}={values[-1]}" for key, values in (params(name) | wider).items()]
    (full,), (few,) = (expand([compose.grid_override(name, full=f), *one]) for f in (True, False))
    assert full.config.name == name
    assert full.axes == few.axes
    longer = full.config.optim.steps > few.config.optim.steps
    assert longer or full.config.model.width > few.config.model.width
    for key, values in wider.items():
        assert set(map(number, values)) > set(map(number, params(name)[key]))


def test_a_given_sweep_replaces_an_axis_and_adds_another():
    cells = expand([*ONE, "init=rand,randn", "norm=before", "optim.rate=0.1,0.2,0.3"])
    assert len(cells) == 6
    assert {cell.config.optim.rate for cell in cells} == {0.1, 0.2, 0.3}
    assert {cell.axes["init"] for cell in cells} == {"rand", "randn"}
    assert {cell.config.norm.placement for cell in cells} == {"before"}


@pytest.mark.parametrize("group", OPTIONS)
def test_every_option_composes_and_validates(group):
    """Tables and figures know an option by the name in it."""
    takes = get("mnist_init").datasets
    options = [o for o in OPTIONS[group] if group != "data" or o in takes]
    one = [*ONE, "optim.batch=64"]  # of ghost batches
    if group in RUN_OPTIONS:
        configs = [compose.validated(by_hydra([*one, f"{group}={o}"])) for o in options]
    else:
        configs = [cell.config for cell in expand([*one, f"{group}={','.join(options)}"])]
    assert [getattr(config, group).name for config in configs] == options


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["experiment=signal_propagation", "init=small", "norm=none", "data=digits"],
            "data is 'digits'; expected gaussian for signal",
        ),
        ([*ONE, "norm.momentum=0.1,7"], "norm.momentum is 7.0; expected"),
        ([*ONE, "optim.rate=interval(0,1)"], "optim.rate=interval(0,1) is no list of values; exp"),
        ([*ONE[:2], "norm=none", "init=glob(zz*)"], "init=glob(zz*) matches nothing; expected at"),
    ],
)
def test_a_grid_that_cannot_be(overrides, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        expand(overrides)


def test_a_wrong_value_in_a_grid():
    with pytest.raises(ConfigError, match=r"norm\.momentum is 7\.0; expected"):
        expand([*ONE, "norm.momentum=0.1,7"])


JOBS = (
    (["norm=before", "optim.rate=1e-3", "seeds=3"], {"optim.rate": 1e-3, "seeds": 3}),
    (["norm.eps=0.5", "norm=after"], {"norm.eps": 0.5}),  # although the group comes after it
    (["optim.rate=1", "force=1"], {"optim.rate": 1.0, "force": True}),
    (["results='a b, c=d'", 'model.name="x,y"'], {"results": "a b, c=d", "model.name": "x,y"}),
    (["data.root='null'", "model.name=007"], {"data.root": "null", "model.name": "007"}),
    (["data.root=null", "norm.name=''"], {"data.root": None, "norm.name": ""}),
    (
        ["data.root=${results}/here", "every=${optim.steps}", "optim.steps=7"],
        {"data.root": "results/here", "every": 7, "optim.steps": 7},
    ),
)


def by_hydra(job):
    """What Hydra composes of one job."""
    compose.prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        return hydra.compose("config", job)


@pytest.mark.parametrize(("job", "expected"), JOBS)
def test_a_job_has_the_values_and_types_that_hydra_gives_it(job, expected):
    composed = by_hydra([*ONE, *job])
    config = compose.validated(composed)
    for key, value in expected.items():
        assert repr(_at(config, key)) == repr(value)
    for field in dataclasses.fields(Config):
        theirs = composed[field.name]
        if OmegaConf.is_config(theirs):
            theirs = OmegaConf.to_object(theirs)
        assert repr(getattr(config, field.name)) == repr(theirs)


def test_every_kind_of_sweep_and_of_several_experiments_each_its_own():
    swept = ["init=sort(randn,rand)", "optim.rate=choice(0.3,0.1)", "optim.steps=range(1,3)"]
    cells = expand([*ONE[:2], "norm=none", *swept])
    found = [(c.config.init.name, c.config.optim.rate, c.config.optim.steps) for c in cells]
    assert found == [*itertools.product(["rand", "randn"], [0.3, 0.1], [1, 2])]
    cells = expand(["experiment=estimators,moving_average", "seeds=1,2"])
    apart = [expand([f"experiment={e}", "seeds=1,2"]) for e in ("estimators", "moving_average")]
    assert ids(cells) == [*ids(apart[0]), *ids(apart[1])]
    assert len(cells) == 2 * 10 + 2 * 4


# Sweeps -------------------------------------------------------------------------------------------


# Plans --------------------------------------------------------------------------------------------


def test_a_plan_stands_for_composing_until_a_file_of_conf_changes(tmp_path, monkeypatch):
    conf, plans = tmp_path / "conf", tmp_path / "plans"
    shutil.copytree(compose.CONF, conf)
    monkeypatch.setattr(compose, "CONF", conf)
    composed, real = [], compose.Grid._cells

    def spy(grid):
        composed.append(grid.overrides)
        return real(grid)

    monkeypatch.setattr(compose.Grid, "_cells", spy)
    first = expand(ONE, plans)
    again = expand([*ONE, "backend=numpy", "++force=true", "hydra/launcher=basic"], plans)
    assert (first, ids(first)) == (again, ids(again))
    assert len(composed) == 1
    (other,) = expand([*ONE, "seeds=3", "backend=numpy", "force=true"], plans)
    assert (other.config.seeds, other.config.force, other.config.backend.name) == (3, False, "auto")
    assert len(composed) == 2

    sgd = conf / "optim" / "sgd.yaml"
    sgd.write_text(sgd.read_text().replace("rate: 0.1\n", "rate: 0.2\n"))  # of the same length
    (changed,) = expand(ONE, plans)
    assert (first[0].config.optim.rate, changed.config.optim.rate) == (0.1, 0.2)
    assert ids(first) != [changed.id]
    for n, file in enumerate(("config.yaml", "experiment/mnist_init.yaml"), start=4):
        with (conf / file).open("a") as out:
            out.write("\n# seen\n")
        expand(ONE, plans)
        assert len(composed) == n

    (path,) = [path for path in plans.iterdir() if '"seeds": 3' not in path.read_text()]
    sound = path.read_bytes()
    path.write_bytes(sound[:-9])
    assert ids(expand(ONE, plans)) == [changed.id]
    assert path.read_bytes() == sound
