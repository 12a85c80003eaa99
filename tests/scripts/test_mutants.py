"""Planted faults: every one can be planted, a sound product passes, a faulty one does not."""

from dataclasses import replace

import pytest
from mutants import ROOT, Mutant, caught, copy_checkout, mutants

from gpubn.errors import ConfigError

IDX = Mutant(
    room="data",
    fault="another magic number",
    file="gpubn/data/idx.py",
    before="Files in the IDX format",
    after="Files in the IDX format",
    tests=("tests/data/test_idx.py",),
)


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: f"{m.room}: {m.fault}")
def test_each_can_be_planted_in_code_that_its_room_tests(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.before) == 1
    assert mutant.before != mutant.after
    assert mutant.paths()


def test_a_fault_is_caught_and_a_sound_product_passes(tmp_path):
    root = copy_checkout(tmp_path)
    sound = replace(IDX, after="Files of the IDX format")
    faulty = replace(IDX, before="offset=header)", after="offset=header - 1)[:-1]")
    assert caught(sound, root)[0] == ""
    assert caught(faulty, root)[0].startswith("tests/data/test_idx.py::")
    assert (root / IDX.file).read_text() == (ROOT / IDX.file).read_text()


def test_a_text_that_is_not_there_once_is_said(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    mutant = replace(IDX, file="a.py", before="x = 1")
    with pytest.raises(ConfigError, match=r"^data: another magic number: 2 times in a\.py$"):
        mutant.plant(tmp_path)
