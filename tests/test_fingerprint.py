"""The fingerprint of code: blind to where code lives and what it is called, not to what counts."""

import ast
from pathlib import Path

import pytest

import gpubn
from gpubn import experiments
from gpubn import fingerprint as module
from gpubn.config import Config, DataConfig, NormConfig
from gpubn.fingerprint import fingerprint, script_fingerprint

ROOT = Path(gpubn.__file__).parent.parent
REGISTRIES = ("gpubn/experiments/base.py", "gpubn/data/registry.py", "gpubn/nn/norms/__init__.py")
"""What finds code by name; a cell names what it chooses."""

MAIN = """
from gpubn import fake_a
from gpubn.fake_b import g
import numpy as np

LIMIT = 3

def f(x, most=LIMIT):
    doubled = fake_a.h(x) + 1
    return [np.sqrt(value) for value in g(doubled)]

def unused():
    return 7
"""
FAKES = {
    "fake_a": "from gpubn.fake_d import k\n\ndef h(x):\n    return 2 * k(x)\n\ndef alike(x):\n"
    "    return 3 * k(x)\n",
    "fake_b": "class Base:\n    size = 1\n\nclass Sized(Base):\n    def of(self, x):\n"
    "        return x * self.size\n\ndef g(x):\n    return Sized().of(x)\n",
    "fake_d": "from gpubn import fake_main\n\ndef k(x):\n"
    "    return x - 1 if x else fake_main.f(x)\n",
}


@pytest.fixture
def prints(tmp_path, monkeypatch):
    """prints(module=source): the fingerprint of `gpubn.fake_main:f` with other sources put in."""
    package = tmp_path / "gpubn"
    package.mkdir()
    (package / "backend.py").write_text("class Backend:\n    pass\n")
    monkeypatch.setattr(module, "_PACKAGE", package)

    def forget():
        for cached in (fingerprint, module._module, module._shape_in_package):
            cached.cache_clear()

    def of(code="gpubn.fake_main:f", **changed):
        for path in package.glob("fake_*.py"):
            path.unlink()
        for name, source in ({"fake_main": MAIN} | FAKES | changed).items():
            (package / f"{name}.py").write_text(source)
        forget()
        return script_fingerprint(code) if isinstance(code, Path) else fingerprint((code,))

    yield of
    forget()


@pytest.mark.parametrize(
    "source",
    [
        "# a comment\n" + MAIN,
        '"""A docstring."""\n' + MAIN,
        MAIN.replace("LIMIT = 3", 'LIMIT = 3\n"""What it is."""'),
        MAIN.replace("    doubled =", '    """What f does."""\n    doubled ='),
        MAIN.replace("fake_a.h(x) + 1", "(\n        fake_a . h(x,)\n        +   1\n    )"),
        MAIN.replace("\n", "\r\n"),
        MAIN.replace("doubled", "twice"),
        MAIN.replace("value", "v"),
        MAIN.replace("LIMIT", "MOST"),
        MAIN.replace("import numpy as np", "import numpy").replace("np.", "numpy."),
        MAIN.replace("import numpy as np", "from numpy import sqrt").replace("np.sqrt", "sqrt"),
        MAIN.replace("from gpubn import fake_a", "import gpubn.fake_a").replace(
            "fake_a.h", "gpubn.fake_a.h"
        ),
        MAIN.replace("from gpubn import fake_a\n", "").replace(
            "    doubled =", "    from gpubn import fake_a\n    doubled ="
        ),
        MAIN.replace("    doubled =", '    log.info("begins")\n    doubled ='),
        MAIN.replace("return 7", "return 8"),
        MAIN + "\nX = 1\n",
    ],
)
def test_blind_to_what_changes_no_number(prints, source):
    before = prints()
    assert source != MAIN
    assert prints(fake_main=source) == before


@pytest.mark.parametrize(
    "source",
    [
        MAIN.replace("+ 1", "+ 2"),
        MAIN.replace("+ 1", "+ 1.0"),
        MAIN.replace("def f(x,", "def f(x, y=1, "),
        MAIN.replace("np.sqrt", "np.cbrt"),
        MAIN.replace("LIMIT = 3", "LIMIT = 4"),
        MAIN.replace("fake_a.h", "fake_a.alike"),
        MAIN.replace("g(doubled)", "g(x)"),
        MAIN.replace("most=", "least="),  # a caller may name it
        MAIN + "\nnp.seterr(all='raise')\n",
    ],
)
def test_sees_code(prints, source):
    before = prints()
    assert prints(fake_main=source) != before


def test_blind_to_where_a_definition_lives_and_what_it_is_called(prints):
    before = prints()
    moved = {
        "fake_elsewhere": FAKES["fake_a"].replace("def h", "def other"),
        "fake_a": "from gpubn.fake_elsewhere import other as h\n",
    }
    assert prints(**moved) == before
    renamed = {name: text.replace("Sized", "Scaled") for name, text in FAKES.items()}
    assert prints(**renamed) == before
    whole = {"fake_renamed": MAIN.replace("def f(", "def function(")}
    circle = (
        FAKES["fake_d"]
        .replace("fake_main.f", "fake_renamed.function")
        .replace("import fake_main", "import fake_renamed")
    )
    assert prints("gpubn.fake_renamed:function", **whole, fake_d=circle) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("fake_a", "2 * k", "3 * k"),
        ("fake_d", "x - 1", "x - 2"),
        ("fake_b", "size = 1", "size = 2"),
        ("fake_b", "Sized(Base)", "Sized"),
        ("fake_b", "self.size", "self.length"),
    ],
)
def test_sees_what_it_refers_to(prints, name, old, new):
    before = prints()
    assert prints(**{name: FAKES[name].replace(old, new)}) != before


def test_errors_may_say_something_else(prints):
    raises = MAIN.replace("    doubled =", "    if x is None:\n        raise E('a')\n    doubled =")
    before = prints(fake_main=raises)
    assert prints(fake_main=raises.replace("E('a')", "F('b')")) == before
    assert prints(fake_main=raises.replace("x is None", "x == 0")) != before


def test_two_definitions_that_change_places_are_told_apart(prints):
    both = "def a(x):\n    return x\ndef b(x):\n    return -x\ndef f(x):\n    return a(b(x) + 1)\n"
    swapped = both.replace("a(b(x)", "b(a(x)")
    assert prints(fake_main=both) != prints(fake_main=swapped)


def test_a_parameter_hides_a_definition_of_its_name(prints):
    hides = "from gpubn.fake_b import g\n\ndef f(g):\n    return g(1)\n"
    before = prints(fake_main=hides)
    assert prints(fake_main=hides, fake_b="def g(x):\n    return 5\n") == before


def test_a_module_as_a_value_counts_as_a_whole(prints):
    takes = "from gpubn import fake_a\n\ndef f(name):\n    return getattr(fake_a, name)\n"
    before = prints(fake_main=takes)
    assert prints(fake_main=takes, fake_a=FAKES["fake_a"].replace("3 * k", "4 * k")) != before


def test_excluded_modules_cannot_change_it(prints, monkeypatch):
    monkeypatch.setattr(module, "_CANNOT_CHANGE_A_NUMBER", ("gpubn.fake_b",))
    before = prints()
    assert prints(fake_b="def g(x):\n    return 2\n") == before
    assert prints(fake_a=FAKES["fake_a"].replace("2", "3")) != before


def test_what_runs_on_a_device_alone_counts_there(prints, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_DEVICE_ONLY", ("gpubn.fake_a",))
    changed = {"fake_a": FAKES["fake_a"].replace("2 * k", "5 * k")}
    assert prints() == prints(**changed)
    prints()
    before = fingerprint(("gpubn.fake_main:f",), device=True)
    (tmp_path / "gpubn" / "norm.cu").write_text("int x;  // why\n")
    fingerprint.cache_clear()
    with_source = fingerprint(("gpubn.fake_main:f",), device=True)
    prints(**changed)
    assert len({before, with_source, fingerprint(("gpubn.fake_main:f",), device=True)}) == 3


def test_excluded_modules_exist():
    for name in (*module._CANNOT_CHANGE_A_NUMBER, *module._DEVICE_ONLY):
        assert module._path(name) is not None


def test_a_script_counts_with_what_it_refers_to(prints, tmp_path):
    script = tmp_path / "figure.py"
    script.write_text("from gpubn.fake_a import h\nh(1)\n")
    before = prints(script)
    assert prints(script, fake_d=FAKES["fake_d"].replace("1", "2")) != before
    assert prints(script, fake_b=FAKES["fake_b"].replace("size = 1", "size = 3")) != before
    assert prints(script, fake_a=FAKES["fake_a"].replace("3 * k", "4 * k")) == before
    script.write_text("from gpubn.fake_a import h\nh(2)\n")
    assert prints(script) != before


def closure(definitions):
    """The names of all that these definitions lead to on the CPU."""
    seen, waiting = set(), [module._Definition(*d.split(":")) for d in definitions]
    while waiting:
        one = waiting.pop()
        if (
            one not in seen
            and one.module not in module._CANNOT_CHANGE_A_NUMBER
            and not f"{one.module}.".startswith(tuple(f"{part}." for part in module._DEVICE_ONLY))
        ):
            seen.add(one)
            waiting += module._shape(one).references
    return {one.name for one in seen}


@pytest.mark.parametrize("name", experiments.names())
def test_the_right_code_counts_in_every_experiment(name):
    experiment = experiments.get(name)
    config = Config(name=name, data=DataConfig(name=experiment.datasets[0]))
    names = closure(experiment.code(config))
    assert "generator" in names
    assert ("initial_weight" in names) == (
        name not in ("dropout_shift", "estimators", "moving_average", "exact")
    )
    assert ("Saturation" in names) == (name in ("mnist_init", "diagnostics"))
    assert ("_scaled" in names) == ("train" in names) == (config.data.name == "mnist")


def test_each_experiment_has_a_fingerprint_of_its_own():
    codes = [experiments.get(name).code(Config(name=name)) for name in experiments.names()]
    assert len({fingerprint(code) for code in codes}) == len(codes)


def test_what_a_cell_chooses_by_name_counts_and_other_choices_do_not():
    code = experiments.get("bessel").code
    groups = Config(name="bessel", norm=NormConfig(name="ghost", ghost=8))
    digits = Config(name="bessel", data=DataConfig(name="digits"))
    assert "GhostBatchNorm" in closure(code(groups))
    assert "GhostBatchNorm" not in closure(code(digits))
    assert "_sha256_of_bytes" in closure(code(digits))
    assert "_scaled" not in closure(code(digits))


def test_no_import_hides_from_the_fingerprint():
    """It follows absolute imports only; the registry of experiments starts at each of them."""
    hidden = []
    for path in Path(gpubn.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if "import_module" in text and path.relative_to(ROOT).as_posix() not in REGISTRIES:
            hidden.append(path.name)
        relative = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
        hidden += [f"{path.name}:{n.lineno}" for n in relative if n.level]
    assert hidden == []
