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


def test_each_can_be_planted_in_code_that_its_room_tests():
    known = [(m.room, m.fault) for m in mutants()]
    assert len(known) == len(set(known))
    for mutant in mutants():
        assert (ROOT / mutant.file).read_text().count(mutant.before) == 1, mutant
        assert mutant.before != mutant.after, mutant
        assert mutant.paths(), mutant


def test_a_fault_is_caught_and_a_sound_product_passes(tmp_path):
    root = copy_checkout(tmp_path)
    sound = replace(IDX, after="Files of the IDX format")
    faulty = replace(IDX, before="offset=header)", after="offset=header - 1)[:-1]")
    assert caught(sound, root)[0] == ""
    assert caught(faulty, root)[0].startswith("tests/data/test_idx.py::")
    with pytest.raises(ConfigError, match=r"^data: another magic number: 0 times in gpubn"):
        replace(IDX, before="not there").plant(root)
    assert (root / IDX.file).read_text() == (ROOT / IDX.file).read_text()
