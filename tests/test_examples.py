"""The examples in the docstrings are right, and no public function lacks one."""

import doctest
import inspect
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import gpubn
from gpubn.commands.api import MODULES

PACKAGE = Path(gpubn.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


def imported(module):
    """The module; where its peer lacks the test is skipped, but for CI, which has all."""
    if module == "gpubn.interop.torch" and find_spec("torch") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("PyTorch is not installed")
    return import_module(module)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module(module):
    failed, tried = doctest.testmod(imported(module), extraglobs={"np": np})
    assert failed == 0 < tried


@pytest.mark.parametrize("module", MODULES)
def test_no_public_function_lacks_an_example(module):
    found = imported(module)
    own = [name for name, value in vars(found).items() if _is_defined_in(value, module)]
    names = getattr(found, "__all__", own)
    functions = {name: getattr(found, name) for name in names if name[0] != "_"}
    functions = {
        name: f for name, f in functions.items() if inspect.isroutine(f) or hasattr(f, "cache_info")
    }
    assert [name for name, f in functions.items() if ">>> " not in (f.__doc__ or "")] == []


def _is_defined_in(value, module):
    return getattr(value, "__module__", None) == module
