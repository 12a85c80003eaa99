"""One job: what it writes, what it shows, and what it leaves as it was."""

import os
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gpubn.vectorized.job import run_job, to_yaml
from gpubn.vectorized.loader import FastLoader

# YAML ---------------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.sampled_from(" \n\t#:-?!&*'\"%@`{}[],|>=~\\aé\u2028\x85\ufeff\U0001f600"))
    | st.from_regex(r"[-+]?[0-9._:]+(e[-+]?[0-9]+)?", fullmatch=True)
    | st.sampled_from(["on", "off", "null", "~", "<<", "1e3", "0x1f", "2001-01-01", "a " * 60])
)
keys = st.text(min_size=1) | st.integers() | st.booleans()
contents = st.recursive(scalars, lambda c: st.lists(c) | st.dictionaries(keys, c), max_leaves=8)


@example({"a": "\U0001f600"})
@example({"a": "\x85"})
@example({"a": {"é " * 60: 1}})
@example({"a": "first\n  second\n\nlast \n"})
@given(st.dictionaries(keys, contents, max_size=4) | st.lists(contents, max_size=4))
def test_yaml_is_what_omegaconf_writes(content):
    config = OmegaConf.create(content if "${" not in repr(content) else {})
    assert to_yaml(config) == OmegaConf.to_yaml(config)


# Around a job -------------------------------------------------------------------------------------


def around():
    return Path.cwd(), HydraConfig.instance().cfg, os.environ.get("HERE")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
def test_what_stops_all_leaves_everything_as_it_was(here, own_folder, error):
    before = around()
    if error is OSError:
        Path("out").write_text("no folder")

    def task(config):
        os.environ["HERE"] = "1"
        raise error

    settings = ("hydra.job.chdir=true", "hydra.job.env_set={}", "+hydra.job.env_set.HERE=x")
    job = FastLoader(here.loader.get_search_path()).job(here.master(*settings), ["x=1"])
    with pytest.raises(error):
        run_job(job, 7, task, HydraContext(here.loader, Callbacks()), console=True)
    assert around() == before
