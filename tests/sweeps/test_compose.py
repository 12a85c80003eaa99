"""From conf/ to cells: every file of it, every grid, and the plans that remember them."""

import dataclasses
import itertools
import re
import shutil
from operator import attrgetter

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
from gpubn.sweeps.cells import RUN_OPTIONS, flat
from gpubn.sweeps.compose import Source, expand

FULL = sorted(path.stem for path in (compose.CONF / "experiment" / "full").glob("*.yaml"))
_NAMELESS = ("experiment", "hydra", "tuning", "universe")
OPTIONS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted(compose.CONF.iterdir())
    if folder.is_dir() and folder.name not in _NAMELESS
}
MINE = """
# @package _global_
defaults: [mnist_init, override /data: digits, _self_]
hydra: {sweeper: {params: {init: rand, norm: "none,after"}}}
"""
ONE = ["experiment=mnist_init", "data=digits", "init=rand", "norm=none"]
DROPOUT_CELL = ["norm=none", "model.dropout=0", "model.dropout_at=end", "optim.rate=0.1"]


def ids(cells):
    return [cell.id for cell in cells]


def params(experiment):
    document = yaml.safe_load((compose.CONF / "experiment" / f"{experiment}.yaml").read_text())
    swept = document.get("hydra", {}).get("sweeper", {}).get("params", {})
    return {key: str(values).split(",") for key, values in swept.items()}


def by_hydra(job):
    """The configuration that Hydra composes of one job."""
    compose.prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        return hydra.compose("config", job)


def test_every_experiment_has_its_file():
    files = {path.stem for path in (compose.CONF / "experiment").glob("*.yaml")}
    assert files == set(experiments.names())
    assert FULL
    assert files > set(FULL)
    assert compose.grid_override("exact", full=True) == "experiment=exact"


@pytest.mark.parametrize("name", FULL)
def test_a_grid_in_full_is_wider(name):
    assert compose.grid_override(name) == f"experiment={name}"
    assert compose.grid_override(name, full=True) == f"experiment=full/{name}"
    wider = params(f"full/{name}")
    one = [f"{key}={values[-1]}" for key, values in (params(name) | wider).items()]
    (full,), (few,) = (expand([f"experiment={where}{name}", *one]) for where in ("full/", ""))
    assert (full.config.name, full.axes) == (name, few.axes)
    longer = full.config.optim.steps > few.config.optim.steps
    assert longer or full.config.model.width > few.config.model.width
    for key, values in wider.items():
        assert set(values) > set(params(name)[key])


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


def test_a_network_comes_with_its_weights_unless_others_are_named():
    grid = ["experiment=mechanism", "norm=none,skip_init", "optim.rate=0.1"]
    cells = expand([*grid, "model=mnist,relu_5,small_relu_20"])
    found = [(c.config.init.name, c.config.norm.name, c.config.model.residual) for c in cells]
    inits = ("glorot", "he", "small")
    assert found == [(i, *n) for i in inits for n in (("none", False), ("skip_init", True))]
    cells = expand([*grid, "model=relu_5", "init=rand"])
    assert [cell.config.init.name for cell in cells] == ["rand", "rand"]
    (deep,) = expand(["experiment=dropout", "model=tanh_20", *DROPOUT_CELL])
    assert deep.config.init.name == "he"  # the experiment's own


@pytest.mark.parametrize(
    ("universe", "key", "value"),
    [
        ("seeds", "first_seed", 200),
        ("digits", "data.name", "digits"),
        ("subset_1000", "data.train_examples", 1000),
        ("width_32", "model.width", 32),
        ("steps_4", "optim.steps", 1200),
        ("batch_128", "optim.batch", 128),
        ("momentum", "optim.momentum", 0.9),
        ("float64", "dtype", "float64"),
        ("tuned", "tuning.seeds", 3),
    ],
)
def test_a_universe_differs_in_one_key_and_gives_cells_of_the_default(universe, key, value):
    one = ["experiment=recipe", *(f"{k}={v[0]}" for k, v in params("recipe").items())]
    (default,) = expand(one)
    (cell,) = expand([*one, f"universe={universe}", "optim.rate=0.1"])
    assert attrgetter(key)(cell.config) == value
    assert cell.config.universe == default.config.universe
    here, there = (flat(dataclasses.asdict(c.config)) for c in (cell, default))
    assert {k for k in here if here[k] != there[k]} <= {key, f"{key.split('.')[0]}.name"}


def test_what_an_experiment_sweeps_and_what_is_given_stays_in_a_universe():
    few = ["experiment=bessel", "norm.correction=0"]
    assert ids(expand([*few, "universe=batch_128"])) == ids(expand(few))
    (given,) = expand([*few, "universe=width_32", "model.width=16", "optim.batch=4"])
    assert (given.config.model.width, given.config.optim.batch) == (16, 4)
    (wide,) = expand(["experiment=mechanism", "model=relu_5", "norm=none", "optim.rate=0.1",
                      "universe=width_32"])  # fmt: skip
    assert (wide.config.model.width, wide.config.init.name) == (32, "he")


def test_universes_are_swept_each_with_the_axes_of_its_file():
    few = ["experiment=bessel", "norm.correction=0", "optim.batch=4"]
    cells = expand([*few, "universe=tuned,width_32"])
    apart = [expand([*few, f"universe={u}"]) for u in ("tuned", "width_32")]
    assert ids(cells) == [*ids(apart[0]), *ids(apart[1])]
    assert [cell.config.optim.rate for cell in apart[0]] == [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
    assert [cell.config.model.width for cell in apart[1]] == [32]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["experiment=signal_propagation", "init=small", "norm=none", "data=digits"],
            "data is 'digits'; expected gaussian for signal",
        ),
        (
            ["experiment=recipe", "norm=before,layer"],
            "norm.kind is 'layer'; expected batch or noisy for recipe, which follows",
        ),
        (["experiment=inference", "norm=none"], "inference got norm=none and model.depth=1; exp"),
        (
            ["experiment=shared_scale", "norm=rms"],
            "norm.kind is 'rms'; expected batch for shared_scale, which measures batch norm alone",
        ),
        (
            ["experiment=signal_propagation", "norm=noisy"],
            "norm.kind is 'noisy'; expected batch for signal_propagation with arithmetic=published",
        ),
        *(
            (
                [f"experiment={name}", "model.residual=true"],
                "model.residual is True; expected false",
            )
            for name in ("signal_batch", "moving_average")
        ),
        (["experiment=glorot_signal", "init.bias=0.5"], "init.bias is 0.5; expected 0.0 for glor"),
        (
            ["experiment=signal_batch", "norm=ghost_16", "data.examples=24"],
            "norm.ghost is 16; expected a divisor of data.examples (24), at least 2",
        ),
        (
            [*ONE[:3], "norm=before", "norm.kind=lyer"],
            "norm.kind is 'lyer'; expected one of batch, gh",
        ),
        (
            [*ONE[:3], "norm=before", "optim.batch=1"],
            "optim.batch is 1; expected at least 2, which norm=b",
        ),
        ([*ONE, "++seedss=3"], "seedss is no key of the configuration; expected one of name, "),
        ([*ONE, "norm.momentum=0.1,7"], "norm.momentum is 7.0; expected"),
        ([*ONE, "optim.rate=interval(0,1)"], "optim.rate=interval(0,1) is no list of values; exp"),
        *(
            ([*ONE[:3], f"norm={chosen}"], f"norm is '{wrong}'; expected one of after, ")
            for chosen, wrong in (
                *(("3.7", "3.7"), ("-0.0", "-0.0"), ("true", "true"), ("null", ""), ("''", "")),
                *(("none,2", "2"), ("[before,1]", "1"), ("choice(after,False)", "false")),
            )
        ),
        (["experiment=exact", "universe=digits"], "data is 'digits'; expected gaussian for exact"),
        ([*ONE, "universe=4"], "universe is '4'; expected one of batch_128, digits, fashion, fl"),
        ([*ONE[:2], "norm=none", "init=glob(zz*)"], "init=glob(zz*) matches nothing; expected at"),
    ],
)
def test_a_grid_that_cannot_be(overrides, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        expand(overrides)


@pytest.mark.parametrize(
    ("job", "expected"),
    [
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
    ],
)
def test_a_job_has_the_values_and_types_that_hydra_gives_it(job, expected):
    composed = by_hydra([*ONE, *job])
    config = compose.validated(composed)
    for key, value in expected.items():
        assert repr(attrgetter(key)(config)) == repr(value)
    for field in dataclasses.fields(Config):
        theirs = composed[field.name]
        if OmegaConf.is_config(theirs):
            theirs = OmegaConf.to_object(theirs)
        assert repr(getattr(config, field.name)) == repr(theirs)


def test_given_values_replace_an_axis_and_add_another_with_every_kind_of_sweep():
    swept = ["init=sort(randn,rand)", "optim.rate=choice(0.3,0.1)", "optim.steps=range(1,3)"]
    cells = expand([*ONE[:2], "norm=none", *swept])
    found = [(c.config.init.name, c.config.optim.rate, c.config.optim.steps) for c in cells]
    assert found == [*itertools.product(["rand", "randn"], [0.3, 0.1], [1, 2])]
    assert {cell.config.norm.placement for cell in cells} == {"none"}


def test_of_several_experiments_each_has_its_own_grid():
    cells = expand(["experiment=estimators,moving_average", "seeds=1,2"])
    apart = [expand([f"experiment={e}", "seeds=1,2"]) for e in ("estimators", "moving_average")]
    assert ids(cells) == [*ids(apart[0]), *ids(apart[1])]
    assert len(cells) == 2 * 10 + 2 * 4


def test_folders_and_a_root_of_one_s_own(tmp_path):
    """As Hydra's --config-dir, --config-name and hydra.searchpath have them; each has its plan."""
    own = {"experiment/mine.yaml": MINE, "root.yaml": "defaults: [config, _self_]\nseeds: 7\n"}
    for name, text in own.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    folder, plans = str(tmp_path / "own"), tmp_path / "plans"
    wanted = ["experiment=mine", "seeds=2"]
    by_option = expand(wanted, plans, Source(folder))
    assert [cell.config.norm.name for cell in by_option] == ["none", "after"]
    assert ids(expand([f"hydra.searchpath=[file://{folder}]", *wanted], plans)) == ids(by_option)
    assert {c.config.seeds for c in expand(wanted[:1], plans, Source(folder, "root"))} == {7}
    assert len(list(plans.iterdir())) == 3
    assert Source(folder, "root").options == [f"--config-dir={folder}", "--config-name=root"]
    assert Source().options == []
    with pytest.raises(ConfigError, match="--config-dir is 'nope'; expected a folder"):
        expand(wanted, plans, Source("nope"))


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
    assert len(composed) == 3


def test_many_sweeps_are_composed_at_once_and_remembered(tmp_path, monkeypatch):
    """A faulty one is refused when it is expanded."""
    monkeypatch.setattr(compose, "cores", lambda: 2)
    monkeypatch.setattr(compose, "_WORTH_A_PROCESS", 1)
    sound = [["experiment=exact"], ["experiment=estimators", "seeds=2"]]
    wrong = ["experiment=exact", "data=digits"]
    compose.compose_ahead([*sound, wrong], tmp_path)
    alone = [expand(overrides) for overrides in sound]
    with pytest.raises(ConfigError, match="expected gaussian for exact"):
        expand(wrong, tmp_path)
    monkeypatch.setattr(compose.Grid, "_cells", lambda _: pytest.fail("composed again"))
    assert [expand(overrides, tmp_path) for overrides in sound] == alone
    monkeypatch.setattr(compose, "ProcessPoolExecutor", lambda *_: pytest.fail("needless"))
    compose.compose_ahead([*sound, wrong], tmp_path)
