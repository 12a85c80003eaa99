"""The fast loader gives what Hydra's own gives, and takes its time where that is not sure."""

import pickle
from dataclasses import dataclass

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
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


@pytest.fixture(scope="module")
def known(slow):
    """A fast loader that many tests have used."""
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


def facts_of_task(config):
    return repr(OmegaConf.to_container(config, resolve=False)), OmegaConf.is_struct(config)


def same(fast, slow, master, *jobs):
    expected = [slow.load_sweep_config(master, list(job)) for job in jobs]
    for job, config in zip(jobs, expected, strict=True):
        assert facts(fast.load_sweep_config(master, list(job))) == facts(config)
        with read_write(config), open_dict(config):
            del config["hydra"]
        assert facts_of_task(fast.job(master, job).task_config()) == facts_of_task(config)


JOBS = {
    "nothing": [[]],
    "values": [["x=1"], ["x=2", "n=4"], ["n=null", "x=1e-3"], ["x=2"], ["x=1", "x=2"], ["x=inf"]],
    "order": [["n=1", "x=2"], ["x=2", "n=1"]],
    "strings": [["s=b"], ["s='a b'"], ['s="null"'], ["s=null"], ['s="é 😀"'], ["s=''"]],
    "words": [["s=on"], ["s=1e3"], ['s="1e3"'], ["s=true"], ["s=a/c-d%@:"], ["s='a\nb'"]],
    "numbers": [["x=-1.5e-7"], ["x=1_000"], ["n=-0"]],
    "enums": [["colour=blue"], ["colour=red"], ["colour=2"]],
    "lists": [["seq=[1,2,3]"], ["seq=[]"], ["db.tags=[a,'b c']"], ["seq=[4]", "db.tags=[]"]],
    "dictionaries": [["plain={a: 2}"], ["plain={a: 3, b: {c: []}}", "x=1"], ["plain={}"]],
    "adding": [["+free.q=1"], ["+free={a: {b: 1}}", "x=1"], ["+new=1"], ["++n=5"]],
    "deleting": [["~free"], ["~plain.b", "x=3"], ["~n=3"], ["~net/layer@net"]],
    "groups": [["db=far"], ["db=here", "x=2"], ["x=3", "db=far"], ["db=far", "db.port=7"]],
    "values before groups": [["db.port=7", "db=far"], ["db.port=8", "db=far"], ["s=z", "db=far"]],
    "packages": [["net/layer@net=big"], ["net/layer@net=big", "net.width=3"], ["net.width=5"]],
    "another package": [["+net/layer@free=big"], ["+net/layer@free.deep=small", "x=2"]],
    "presets": [["+preset=one"], ["+preset=one", "x=6"], ["+preset=one", "db.port=3"]],
    "interpolations": [["s='${colour}'"], ["twice='${s}${x}'"], ["db.host='${s}'", "db=far"]],
    "resolvers": [["s='${oc.env:HOME}'"], ["number='${hydra:job.name}'"]],
    "Hydra's own": [["hydra.job.name=b"], ["+hydra.job.env_set.A='${s}'"], ["hydra/env=default"]],
}  # fmt: skip


@pytest.mark.parametrize("kind", JOBS)
def test_overrides_of_every_kind(known, slow, master, kind):
    same(known, slow, master, *JOBS[kind])


SETTINGS = {
    "excluded from the name": ["hydra.job.config.override_dirname.exclude_keys=[x, db]"],
    "separators of the name": [
        "hydra.job.config.override_dirname.kv_sep=_",
        "hydra.job.config.override_dirname.item_sep=__",
    ],
    "environment": ["hydra.job.env_copy=[GPUBN_TESTED]", "+hydra.job.env_set.B='${x}'"],
    "folders": ["hydra.sweep.subdir='${hydra.job.override_dirname}/${x}'", "hydra.job.chdir=true"],
    "of the application": ["x=9", "+preset=one", "~plain.b"],
    "schema of a group": ["net/layer@net=big", "hydra.verbose=[a,b]"],
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_of_the_sweep(here, fast, slow, kind, monkeypatch):
    monkeypatch.setenv("GPUBN_TESTED", "a b")
    master = here.master(*SETTINGS[kind])
    same(fast, slow, master, ["x=1", "db=far"], ["s='a,b=c'", "x=3"], ["db=far"])


POOL = [
    *("x=1", "x=2.5", "n=7", "n=null", "s='a b'", "s='${colour}'", "twice=x", "colour=blue"),
    *("seq=[5]", "seq=[]", "plain={a: 7}", "plain={b: {c: [1]}}", "plain.b.c=[9]", "db=far"),
    *("db=here", "db.port=9", "db.host='${s}'", "db.tags=[t]", "+preset=one", "x=wrong", "nope=1"),
]


@pytest.fixture
def pair(fast, slow, master):
    """What both say to a job; Hydra is asked once."""
    said = {}

    def of_hydra(job):
        if job not in said:
            said[job] = outcome(slow.load_sweep_config, master, job)
        return said[job]

    return of_hydra, lambda job: outcome(fast.load_sweep_config, master, job)


def outcome(load, master, job):
    try:
        return facts(load(master, list(job)))
    except HydraException as error:
        return type(error), str(error), str(error.__cause__)


def test_many_sweeps(pair):
    of_hydra, of_fast = pair
    job = st.lists(st.sampled_from(POOL), max_size=4, unique_by=lambda o: o.split("=")[0])

    @settings(max_examples=15)
    @given(st.lists(job.map(tuple), min_size=1, max_size=4))
    def check(jobs):
        for job in jobs:
            assert of_fast(job) == of_hydra(job)

    check()


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
        assert config.hydra.job.name == "app"
        assert config.hydra.overrides.task == job
    of_task = fast.job(master, job).task_config()
    of_task.seq.append(3)
    assert fast.job(master, job).task_config().seq == [1, 2]


def test_a_value_that_is_resolved_once_a_sweep_stays_what_it_was(here, fast, slow):
    """As `${now:}` in the name of a folder."""
    drawn = iter(range(100))
    OmegaConf.register_new_resolver("drawn", lambda: next(drawn), use_cache=True, replace=True)
    of_all = "s='${drawn:}'"
    master = here.master(of_all)
    assert master.s == "0"
    for loader in (slow, fast, fast):
        assert loader.load_sweep_config(master, [of_all, "x=1"]).s == "0"


ORDERED = {  # a dictionary for a group is a value to Hydra
    "the first job shows it": [["db.host=a", "db={host: z}"], ["db.host=b", "db={host: z}"]],
    "the first job does not": [["db.host=z", "db={host: z}"], ["db.host=b", "db={host: z}"]],
}


@pytest.mark.parametrize("kind", ORDERED)
def test_where_values_must_not_be_set_last(fast, slow, master, kind):
    same(fast, slow, master, *ORDERED[kind])


def test_where_the_fast_way_differs_it_is_not_taken(slow, fast, master, monkeypatch):
    monkeypatch.setattr(Choice, "copy", lambda choice, overrides: choice._copy())
    same(fast, slow, master, *[["x=1", "n=2"]] * 2)


WRONG = {
    "type": ["x=fast"],
    "type of a second": ["n=1", "x=fast"],
    "enum": ["colour=green"],
    "element": ["seq=[a]"],
    "key": ["nope=1"],
    "nested key": ["db.nope=1"],
    "null": ["x=null"],
    "option": ["db=nope"],
    "package": ["db@nope=far"],
    "group that is not there": ["x@y=1"],
    "nothing to delete": ["~nope"],
    "something there": ["+x=1"],
    "syntax": ["x=[1"],
    "no value": ["x"],
    "a sweep": ["x=1,2"],
}


@pytest.mark.parametrize("kind", WRONG)
def test_errors_have_the_words_of_hydra(fast, known, slow, master, kind):
    with pytest.raises(HydraException) as expected:
        slow.load_sweep_config(master, WRONG[kind])
    assert known.load_sweep_config(master, ["x=2"]).x == 2  # its groups are known
    for loader in (fast, known):
        with pytest.raises(HydraException) as caught:
            loader.load_sweep_config(master, WRONG[kind])
        assert type(caught.value) is type(expected.value)
        assert str(caught.value) == str(expected.value)
        assert str(caught.value.__cause__) == str(expected.value.__cause__)
    assert known.load_sweep_config(master, ["x=2"]).x == 2


def test_copies_of_what_cannot_be_pickled():
    @dataclass
    class Local:
        a: int = 1

    config = OmegaConf.create({"local": OmegaConf.structured(Local), "list": [1]})
    with pytest.raises(Exception, match=r"Can't pickle|Can't get local"):
        pickle.dumps(config)
    copies = copier(config)
    first = copies()
    first.local.a = 2
    first.list.append(2)
    assert OmegaConf.get_type(first.local) is Local
    assert copies().list == [1]


def test_a_copy_is_of_then(here):
    config = here.loader.load_sweep_config(here.master(), ["x=1"])
    copies, before = copier(config), facts(config)
    config.x = 2
    config.seq.append(5)
    copies().x = 3
    assert facts(copies()) == before
