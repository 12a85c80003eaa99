"""The fast loader gives what Hydra's own gives, and takes its time where that is not sure."""

from dataclasses import dataclass

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict, read_write

from gpubn.vectorized.loader import Choice, FastLoader, copier


@pytest.fixture(scope="module")
def slow(here):
    """Hydra's own loader."""
    return here.loader


@pytest.fixture
def asked(monkeypatch):
    """The overrides of each time that Hydra composes."""
    calls = []
    real = ConfigLoaderImpl.load_configuration

    def spy(loader, config_name, overrides, *args, **options):
        calls.append(overrides)
        return real(loader, config_name, overrides, *args, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", spy)
    return calls


@pytest.fixture(scope="module")
def master(here):
    return here.master()


@pytest.fixture
def fast(slow):
    return FastLoader(slow.get_search_path())


def nodes(config, path=""):
    """Every node with its type and its flags."""
    for key in config if OmegaConf.is_dict(config) else range(len(config)):
        node = config._get_node(key)
        facts = (f"{path}.{key}", type(node).__name__, node._metadata.ref_type)
        of_it = node._metadata.flags, node._metadata.object_type, node._is_interpolation()
        yield *facts, *of_it
        if OmegaConf.is_config(node) and not node._is_none() and not node._is_interpolation():
            yield from nodes(node, f"{path}.{key}")


def facts(config):
    flags = OmegaConf.is_readonly(config), OmegaConf.is_struct(config)
    return repr(OmegaConf.to_container(config, resolve=False)), flags, str(list(nodes(config)))


def outcome(load, master, job):
    """What a loader gives, or the words in which it refuses."""
    try:
        return facts(load(master, list(job)))
    except HydraException as error:
        return type(error), str(error), str(error.__cause__)


def same(fast, slow, master, *jobs):
    """Both loaders give the same for each of these jobs, in this order."""
    for job in jobs:
        found = outcome(fast.load_sweep_config, master, job)
        try:
            config = slow.load_sweep_config(master, list(job))
        except HydraException:
            assert found == outcome(slow.load_sweep_config, master, job)
            continue
        assert found == facts(config)
        with read_write(config), open_dict(config):
            del config["hydra"]
        of_task = fast.job(master, job).task_config()
        assert repr(of_task) == repr(config)
        assert OmegaConf.is_struct(of_task) == OmegaConf.is_struct(config)


POOL = [
    *("x=1", "x=2.5", "x=1e-3", "x=inf", "x=-1.5e-7", "x=1_000", "n=7", "n=null", "n=-0", "s=b"),
    *("s='a b'", 's="null"', "s=null", 's="é 😀"', "s=''", "s=on", "s=1e3", 's="1e3"', "s=true"),
    *("s=a/c-d%@:", "s='a\nb'", "colour=blue", "colour=2", "seq=[5]", "seq=[]"),
    *("db.tags=[t,'b c']", "plain={a: 7}", "plain={b: {c: [1]}}", "plain={}", "plain.b.c=[9]"),
    *("db.port=9", "twice=x"),
    *("db=far", "db=here", "net.width=5", "net/layer@net=big", "+preset=one", "hydra/env=default"),
    *("+net/layer@free=big", "+net/layer@free.deep=small", "db.host='${s}'", "s='${colour}'"),
    *("twice='${s}${x}'", "s='${oc.env:HOME}'", "number='${hydra:job.name}'", "hydra.job.name=b"),
    *("+free.q=1", "+free={a: {b: 1}}", "+new=1", "++n=5", "~free", "~plain.b", "~n=3"),
    *("~net/layer@net", "+hydra.job.env_set.A='${s}'"),
]
WRONG = [
    *("x=fast", "colour=green", "seq=[a]", "x=null", "nope=1", "db.nope=1", "db=nope", "~nope"),
    *("db@nope=far", "x@y=1", "+x=1", "x=[1", "x", "x=1,2"),
]


def test_one_override_of_any_kind(fast, slow, master):
    same(fast, slow, master, [], *([override] for override in (*POOL, *WRONG)))
    several = [["n=1", "x=fast"], ["x=1", "x=2"], ["db.port=7", "db=far"], ["db=far", "n=2"]]
    several += [["~free", "+new=1", "x=2"], ["plain.b.c=[9]", "plain={}"], ["+preset=one", "x=1"]]
    same(fast, slow, master, *several, *reversed(several))


def test_values_are_set_without_asking_hydra(here, fast, master, asked):
    fast.load_sweep_config(master, ["x=1"])
    assert len(asked) == 2  # the choice of groups, and once the job for comparison
    for x in range(20):
        fast.load_sweep_config(master, [f"x={x}"])
        fast.job(master, [f"db.port={x}"]).task_config()
    assert len(asked) == 2
    fast.load_sweep_config(master, ["x=1", "db=far"])
    fast.load_sweep_config(master, ["db=far", "n=2"])
    assert len(asked) == 3
    fast.load_sweep_config(here.master("s=other"), ["x=2"])  # another sweep
    assert len(asked) == 6


def test_each_job_gets_a_configuration_of_its_own(fast, master):
    job = ["seq=[1,2]", "plain={a: [1]}"]
    first, second = (fast.load_sweep_config(master, job) for _ in range(2))
    with open_dict(first):
        first.seq.append(3)
        first.plain.a[0] = 5
        first.hydra.job.name = "changed"
        first.hydra.overrides.task.append("x=1")
        del first["db"]
    for config in (second, fast.load_sweep_config(master, job)):
        assert (config.seq, config.plain.a, config.db.port) == ([1, 2], [1], 1)
        assert (config.hydra.job.name, config.hydra.overrides.task) == ("app", job)
    of_task = fast.job(master, job).task_config()
    of_task.seq.append(3)
    assert fast.job(master, job).task_config().seq == [1, 2]


def test_a_value_that_is_resolved_once_a_sweep_stays_what_it_was(here, fast, slow):
    """As `${now:}` in the name of a folder."""
    drawn = iter(range(100))
    OmegaConf.register_new_resolver("drawn", lambda: next(drawn), use_cache=True, replace=True)
    of_all = "s='${drawn:}'"
    master = here.master(of_all)
    fast.load_sweep_config(master, [of_all, "x=1"])  # before it is resolved
    assert master.s == "0"
    for loader in (slow, fast, fast):
        assert loader.load_sweep_config(master, [of_all, "x=1"]).s == "0"


@pytest.mark.parametrize("first", ["db.host=a", "db.host=z"])  # the one shows it, the other not
def test_where_values_must_not_be_set_last(fast, slow, master, first):
    """A dictionary for a group is a value to Hydra."""
    same(fast, slow, master, [first, "db={host: z}"], ["db.host=b", "db={host: z}"])


def reordered(choice, overrides, copy=Choice.copy):
    config = copy(choice, overrides)
    config.plain = dict(reversed(config.plain.items()))
    return config


@pytest.mark.parametrize("wrong", [lambda choice, overrides: choice._copy(), reordered])
def test_where_the_fast_way_differs_it_is_not_taken(slow, fast, master, monkeypatch, wrong):
    monkeypatch.setattr(Choice, "copy", wrong)
    same(fast, slow, master, *[["x=1", "n=2"]] * 2)


def test_what_cannot_be_pickled_is_copied_too():
    @dataclass
    class Local:
        a: int = 1

    config = OmegaConf.create({"local": OmegaConf.structured(Local), "list": [1]})
    copies, before = copier(config), facts(config)
    for changed in (config, copies()):
        changed.local.a = 3
        changed.list.append(5)
        assert facts(copies()) == before
