"""From conf/ to cells: every file of it, every grid, and the plans that remember them."""

import re
import shutil

import hydra
import pytest
import yaml
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from gpubn import experiments
from gpubn.errors import ConfigError
from gpubn.experiments import get
from gpubn.sweeps import cli, compose
from gpubn.sweeps.cells import RUN_OPTIONS
from gpubn.sweeps.compose import expand
from gpubn.vectorized.loader import FastLoader

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
    takes = get("mnist_init").datasets
    options = [o for o in OPTIONS[group] if group != "data" or o in takes]
    # Tables and figures know an option by the name in it.
    one = [*ONE, "optim.batch=64"]  # of ghost batches
    configs = by_us([[*one, f"{group}={option}"] for option in options])
    assert [getattr(config, group).name for config in configs] == options
    cells = expand([*one, f"{group}={','.join(options)}"])
    expected = options if group not in RUN_OPTIONS else ["auto" if group == "backend" else "none"]
    assert {getattr(cell.config, group).name for cell in cells} == set(expected)


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


GOOD_JOBS = (
    ["norm=before", "optim.rate=0.1", "seeds=3"],
    ["norm=before", "optim.rate=1e-3", "seeds=3"],
    ["optim.rate=1e-3", "norm=after"],
    ["norm.eps=0.5", "norm=after"],  # the value wins, although the group comes after it
    ["norm.name=mine", "norm=before"],
    ["optim.rate=0.3", "optim.rate=0.7"],
    ["results='a b, c=d'", 'model.name="x,y"', "data.root='null'"],
    ["results=1e3", "model.name=007"],
    ["model.name=on", "data.root=${results}/here", "every=${optim.steps}"],
    ["data.root=null", "norm.name=''"],
    ["optim.rate=1", "optim.steps=10", "force=1"],
    ["+colour=red", "optim.rate=0.4"],
    ["++optim.rate=0.4", "optim.steps=7"],
    ["hydra.job.chdir=true", "hydra.sweep.dir=elsewhere", "optim.rate=0.4"],
    ["hydra/job_logging=disabled", "optim.rate=0.4"],
    ["experiment=full/rate_sweep", "optim.rate=0.1"],
    ["experiment=full/rate_sweep", "optim.rate=0.2", "norm=before"],
    ["~init"],
)
BAD_JOBS = (
    ["norm.epss=1"],
    ["optim.rate=0.1", "norm.epss=1"],
    ["norm.epss=1", "optim.rate=fast"],
    ["colour=red"],
    ["+optim.rate=0.4"],
    ["optim.rate=fast"],
    ["optim.rate=[1,2]"],
    ["optim.steps=1.5"],
    ["force=maybe"],
    ["seeds=null"],
    ["seeds=???"],
    ["norm.eps.x=1"],
    ["norm.momentum=7"],
    ["every=${nowhere}"],
    ["norm=nope"],
    ["norm=nope", "norm.epss=1"],
    ["~norm.eps", "norm.eps=1"],
)


def by_hydra(jobs):
    """Return the configuration that Hydra composes of each job alone."""
    compose.prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        return [hydra.compose("config", list(job)) for job in jobs]


def by_us(jobs):
    """Our configurations of them, one after another."""
    compose.prepare_hydra()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        loader = FastLoader(GlobalHydra.instance().config_loader().get_search_path())
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        return [compose.validated(loader.job(master, job).task_config()) for job in jobs]


def test_jobs_are_composed_as_hydra_composes_them():
    given = [[*ONE, *job] for job in GOOD_JOBS]
    given += given[:2]  # what was composed before is still as it was
    ours = by_us(given)
    theirs = [compose.validated(composed) for composed in by_hydra(given)]
    assert list(map(repr, ours)) == list(map(repr, theirs))  # types of values included
    quoted = theirs[6]
    assert (quoted.results, quoted.model.name, quoted.data.root) == ("a b, c=d", "x,y", "null")


@pytest.mark.parametrize("job", BAD_JOBS, ids=" ".join)
def test_a_bad_job_is_refused_in_the_words_of_hydra(job):
    """Alone, and after another one whose choice of groups is known."""

    def outcome(compose_them, *before):
        try:
            return compose_them([*before, [*ONE, *job]])
        except Exception as error:
            return type(error), str(error), cli.explain(error)

    theirs = outcome(lambda jobs: [compose.validated(c) for c in by_hydra(jobs)])
    assert isinstance(theirs, tuple)
    assert theirs[2]  # a sentence, and no traceback
    assert outcome(by_us) == theirs
    assert outcome(by_us, [*ONE, "norm.eps=1", "optim.rate=1"]) == theirs


@pytest.fixture
def compositions(monkeypatch):
    """The overrides of each configuration that Hydra composes."""
    calls = []
    real = ConfigLoaderImpl._load_configuration_impl

    def spy(loader, config_name, overrides, *args, **options):
        calls.append(overrides)
        return real(loader, config_name, overrides, *args, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", spy)
    return calls


def test_hydra_composes_once_for_each_choice_of_groups(compositions):
    rates = [n / 100 for n in range(1, 21)]
    cells = expand(
        [*ONE[:2], "norm=none,before", f"optim.rate={','.join(map(str, rates))}", "init=he"]
    )
    assert [cell.config.optim.rate for cell in cells] == rates * 2
    # Of the sweep, of one job in full for comparison, and of two norms.
    assert len(compositions) == 1 + 1 + 2


# Sweeps -------------------------------------------------------------------------------------------


def test_experiments_that_are_swept_have_their_own_grids():
    cells = expand(["experiment=estimators,moving_average", "seeds=1,2"])
    apart = [expand([f"experiment={e}", "seeds=1,2"]) for e in ("estimators", "moving_average")]
    assert ids(cells) == [*ids(apart[0]), *ids(apart[1])]
    assert len(cells) == 2 * 10 + 2 * 4


SWEEPS = {
    "init=choice(rand,randn)": ["rand", "randn"],
    "init=glob(rand*,exclude=*_*)": ["rand", "randn"],
    "init=sort(randn,rand)": ["rand", "randn"],
    "optim.steps=range(1,4)": [1, 2, 3],
    "optim.steps=shuffle(range(1,4))": [1, 2, 3],
    "optim.rate=sort(choice(0.3,0.1),reverse=true)": [0.3, 0.1],
}


@pytest.mark.parametrize("override", SWEEPS)
def test_every_kind_of_sweep(override):
    key = override.split("=")[0]
    cells = expand(["experiment=mnist_init", "data=digits", "init=rand", "norm=none", override])
    found = [
        cell.config.init.name if key == "init" else getattr(cell.config.optim, key.split(".")[1])
        for cell in cells
    ]
    assert (sorted(found) if "shuffle" in override else found) == SWEEPS[override]


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
    (other,) = expand([*ONE, "seeds=3"], plans)
    assert other.config.seeds == 3
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
