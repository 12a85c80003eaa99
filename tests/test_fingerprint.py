"""The fingerprint of code: blind to comments and layout, not to anything that may count."""

import ast
from pathlib import Path

import pytest

import gpubn
from gpubn import experiments
from gpubn import fingerprint as module
from gpubn.fingerprint import fingerprint

MAIN = """
from gpubn import fake_a
import gpubn.fake_c
from gpubn.fake_b import g, unused
import numpy

def f(x):
    return fake_a.h(x) + 1
"""
FAKES = {
    "fake_a": "from gpubn.fake_d import k\n\ndef h(x):\n    return 2 * k(x)\n",
    "fake_b": "def g():\n    return 1\n",
    "fake_c": "import gpubn.fake_a\nLIMIT = 3\n",
    "fake_d": "import gpubn.fake_main\n\ndef k(x):\n    return x - 1\n",
}


@pytest.fixture
def prints(tmp_path, monkeypatch):
    """prints(module=source): the fingerprint of `gpubn.fake_main` with other sources put in."""
    package = tmp_path / "gpubn"
    package.mkdir()
    monkeypatch.setattr(module, "_PACKAGE", package)

    def of(code="gpubn.fake_main", **changed):
        for name, source in ({"fake_main": MAIN} | FAKES | changed).items():
            (package / f"{name}.py").write_text(source)
        fingerprint.cache_clear()
        return fingerprint(code)

    yield of
    fingerprint.cache_clear()


@pytest.mark.parametrize(
    "source",
    [
        "# a comment\n" + MAIN,
        '"""A docstring."""\n' + MAIN,
        MAIN.replace("    return", '    """What f does."""\n    return'),
        MAIN.replace("    return", "\n\n    # why\n    return"),
        MAIN.replace("fake_a.h(x) + 1", "(\n        fake_a . h(x,)\n        +   1\n    )"),
        MAIN.replace("\n", "\r\n"),
    ],
)
def test_blind_to_comments_docstrings_and_layout(prints, source):
    before = prints()
    assert prints(fake_main=source) == before


@pytest.mark.parametrize(
    "source",
    [
        MAIN.replace("+ 1", "+ 2"),
        MAIN.replace("+ 1", "+ 1.0"),
        MAIN.replace("def f(x)", "def f(x, y=1)"),
        MAIN + "\nX = 1\n",
        MAIN.replace("import numpy", "import math"),
    ],
)
def test_sees_code(prints, source):
    before = prints()
    assert prints(fake_main=source) != before


def test_a_string_that_is_no_docstring_counts(prints):
    changed = MAIN + "\nNAME = 'a'\n"
    assert prints(fake_main=changed) != prints(fake_main=changed.replace("'a'", "'b'"))


@pytest.mark.parametrize("name", FAKES)
def test_sees_imported_modules_however_they_are_imported(prints, name):
    before = prints()
    assert prints(**{name: FAKES[name] + "\nX = 1\n"}) != before


@pytest.mark.parametrize("name", FAKES)
def test_blind_to_comments_of_imported_modules(prints, name):
    before = prints()
    assert prints(**{name: "# comment\n" + FAKES[name]}) == before


def test_an_import_inside_a_function_counts(prints):
    inside = MAIN.replace("from gpubn import fake_a\n", "").replace(
        "    return", "    from gpubn import fake_a\n    return"
    )
    before = prints(fake_main=inside, fake_c="LIMIT = 3\n")
    assert prints(fake_main=inside, fake_c="LIMIT = 3\n", fake_a="X = 1\n") != before


def test_excluded_modules_cannot_change_it(prints, monkeypatch):
    excluded = module._CANNOT_CHANGE_A_NUMBER | {"gpubn.fake_b"}
    monkeypatch.setattr(module, "_CANNOT_CHANGE_A_NUMBER", excluded)
    before = prints()
    assert prints(fake_b="def g():\n    return 2\n") == before
    assert prints(fake_a=FAKES["fake_a"].replace("2", "3")) != before


def test_excluded_modules_exist():
    missing = [name for name in module._CANNOT_CHANGE_A_NUMBER if module._path(name) is None]
    assert missing == []


def test_a_script_counts_with_what_it_imports(prints, tmp_path):
    script = tmp_path / "figure.py"
    script.write_text("from gpubn.fake_a import h\n")
    before = prints(script)
    assert prints(script, fake_d=FAKES["fake_d"].replace("1", "2")) != before
    assert prints(script, fake_c="X = 1\n") != before  # by way of fake_d and fake_main
    script.write_text("from gpubn.fake_a import h\nh(1)\n")
    assert prints(script) != before


def test_a_module_that_imports_nothing(prints):
    before = prints("gpubn.fake_b")
    assert len(before) == 16
    assert prints("gpubn.fake_b", fake_a="X = 1\n") == before


@pytest.mark.parametrize("name", experiments.names())
def test_the_kernels_count_in_every_experiment(name):
    seen = set()
    waiting = [f"gpubn.experiments.{name}"]
    while waiting:
        part = waiting.pop()
        path = module._path(part)
        if part not in seen and path is not None:
            seen.add(part)
            waiting += module._imports(ast.parse(path.read_bytes()))
    assert {"gpubn.kernels.batch_norm", "gpubn.rng", "gpubn.backend"} <= seen
    draws_weights = name not in ("dropout_shift", "estimators", "moving_average", "exact")
    assert ("gpubn.init" in seen) == draws_weights


def test_no_import_hides_from_the_fingerprint():
    """It follows absolute imports only; the registry of experiments starts at each of them."""
    hidden = []
    for path in Path(gpubn.__file__).parent.rglob("*.py"):
        text = path.read_text()
        # The benchmark's peers are no modules of ours.
        if "import_module" in text and path.name != "base.py" and "gpubench" not in path.parts:
            hidden.append(path.name)
        relative = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
        hidden += [f"{path.name}:{n.lineno}" for n in relative if n.level]
    assert hidden == []
