"""The examples in the docstrings are right."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import gpubn

PACKAGE = Path(gpubn.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module(module):
    failed, tried = doctest.testmod(import_module(module), extraglobs={"np": np})
    assert failed == 0 < tried
