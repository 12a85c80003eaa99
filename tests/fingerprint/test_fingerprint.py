"""The fingerprint of code: blind to where code lives and what it is called, not to what counts."""

import ast
from pathlib import Path

import pytest

import gpubn
from gpubn import experiments
from gpubn import fingerprint as package
from gpubn.config import Config, DataConfig, NormConfig
from gpubn.fingerprint import fingerprint, modules, script_fingerprint, shapes

ROOT = Path(gpubn.__file__).parent.parent
REGISTRIES = (
    *("gpubn/experiments/base.py", "gpubn/data/registry.py", "gpubn/nn/norms/__init__.py"),
    *("gpubn/extensions.py", "gpubn/commands/__init__.py", "gpubn/commands/api/__init__.py"),
)
"""Modules that find code by name; a cell names what it chooses."""
ELSEWHERE = tuple(module for of in package._ONLY_ON.values() for module in of)
"""Modules that do not run where array expressions do."""

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
    for name, text in (("__init__", ""), ("backend", "class Backend:\n    pass\n")):
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(modules, "PACKAGE", package)
    reads = (modules.path_of, modules.module_of, modules.effects, shapes.shape)

    def forget():
        for cached in (fingerprint, *reads):
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
    ("old", "new"),
    [
        ("LIMIT = 3", '# a comment\nLIMIT = 3\n"""What it is."""'),
        ("\nfrom gpubn import", '"""A docstring."""\nfrom gpubn import'),
        ("    doubled =", '    """What f does."""\n    log.info("begins")\n    doubled ='),
        ("fake_a.h(x) + 1", "(\n        fake_a . h(x,)\n        +   1\n    )"),
        ("\n", "\r\n"),
        ("doubled", "twice"),
        ("LIMIT", "MOST"),
        ("return 7", "return 8\n\nX = 1"),
    ],
)
def test_blind_to_what_changes_no_number(prints, old, new):
    before = prints()
    assert old in MAIN
    assert prints(fake_main=MAIN.replace(old, new)) == before


@pytest.mark.parametrize(
    "source",
    [
        MAIN.replace("import numpy as np", "import numpy").replace("np.", "numpy."),
        MAIN.replace("import numpy as np", "from numpy import sqrt").replace("np.sqrt", "sqrt"),
        MAIN.replace("from gpubn import fake_a", "import gpubn.fake_a as fake_a"),
        MAIN.replace("from gpubn import fake_a\n", "").replace(
            "    doubled =", "    from gpubn import fake_a\n    doubled ="
        ),
    ],
)
def test_blind_to_how_a_definition_is_imported(prints, source):
    before = prints()
    assert prints(fake_main=source) == before


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


# A module, and what is changed in it: each must be seen. `KEEPS` changes nothing.
SEES = {
    "type of a constant": ("def f(x): return x + 1", "+ 1", "+ 1.0"),
    "function of a library": ("import numpy\ndef f(x): return numpy.sqrt(x)", "sqrt", "cbrt"),
    "act of its own module": ("def f(x): return x\nseed(1)", "seed(1)", "seed(2)"),
    "when an error is raised": ("def f(x):\n  if x is N: raise E('a')", "x is N", "x == 0"),
    "decorator": ("@cache\ndef f(x): pass", "@cache\n", ""),
    "default": ("def f(x, *, n=3): pass", "n=3", "n=4"),
    "base": ("class A: pass\nclass B: pass\nclass f(A): pass", "f(A)", "f(A, B)"),
    "attribute named as what it is": ("n = 1\nclass f:\n  n = n", "n = 1", "n = 2"),
    "bound twice": ("def f(x): return x\ndef g(h): return h\nf = g(f)", "return x", "return -x"),
    "bound over an import": ("from gpubn.fake_n import f\nf = cache(f)", "n = 1", "n = 2"),
    "change places": (
        *("def a(x): return x\ndef b(x): return -x\ndef f(x): return a(b(x) + 1)",),
        *("a(b(x)", "b(a(x)"),
    ),
    "differ two steps on": (
        "def p(x): return x\ndef q(x): return -x\ndef c(x): return p(x)\ndef d(x): return q(x)\n"
        "def a(x): return c(x)\ndef b(x): return d(x)\ndef f(x): return a(b(x) + 1)",
        *("return p(x)\ndef d(x): return q(x)", "return q(x)\ndef d(x): return p(x)"),
    ),
    "global": ("n = 1\ndef f(x):\n  global n\n  n = n + x\n  return n", "n = 1", "n = 2"),
    "slots of a class": ("class f:\n  __getattr__ = lambda self, name: 1", ": 1", ": 2"),
    "__getattr__ of a module": ("from gpubn.fake_g import a\ndef f(x): return a", "n = 1", "n = 2"),
    "re-exported by a module that is a value": (
        *("from gpubn import fake_g\ndef f(x): return getattr(fake_g, x)", "n = 1", "n = 2"),
    ),
    "acts when imported": ("import gpubn.fake_e\ndef f(x): return x", "seed(1)", "seed(2)"),
    "list called log": ("def f(x, log):\n  log.append(x)\n  return log", "d(x)", "d(-x)"),
    "log line that binds": ("def f(x):\n  log.info(x := x + 1)\n  return x", "+ 1", "+ 2"),
}
OTHERS = {
    "fake_n": "n = 1\ndef f(x): return n\n",
    "fake_o": "def f(x): return 7\n",
    "fake_g": "from gpubn.fake_n import f\ndef __getattr__(name): return f(name)\n",
    "fake_e": "import numpy\nnumpy.random.seed(1)\n",
}
KEEPS = {
    "sentence of an error": ("def f(x):\n  if x is None: raise E('a')", "E('a')", "F('b')"),
    "definition that a parameter hides": (
        *("from gpubn.fake_n import f as g\ndef f(g): return g(1)", "n = 1", "n = 2"),
    ),
    "parameter of the type checker": (
        "if TYPE_CHECKING:\n  from gpubn.fake_n import f as F\ndef f(x: 'F'): return x",
        *("fake_n", "fake_o"),
    ),
    "log line in a block": ("def f(x):\n  if x:\n    log.info('a')\n    x += 1", "'a'", "'b'"),
    "capture of a match": ("def f(x):\n  match x:\n    case [a, *b]: return a + b", "b", "c"),
    "method's global named as an attribute of the class": (
        "def g(x): return x\nclass f:\n  g = 1\n  def h(self): return g(2)",
        "def g(x): return x\nclass f:\n  g = 1\n  def h(self): return g(2)",
        "def k(x): return x\nclass f:\n  g = 1\n  def h(self): return k(2)",
    ),
    "exception's name": ("def f(x):\n  try: x()\n  except E as e_: return e_", "e_", "g"),
}


@pytest.mark.parametrize("case", [*SEES, *KEEPS])
def test_sees_a_planted_change_that_may_change_a_number_and_no_other(prints, case):
    text, old, new = (SEES | KEEPS)[case]
    main = {"fake_main": text + "\n"}
    place = main if old in text else OTHERS
    changed = {name: one.replace(old, new) for name, one in place.items()}
    assert changed != place
    same = prints(**main, **OTHERS) == prints(**main | OTHERS | changed)
    assert same == (case in KEEPS)


def test_excluded_modules_exist():
    assert all(map(modules.path_of, package._CANNOT_CHANGE_A_NUMBER + ELSEWHERE))


def test_excluded_modules_cannot_change_it(prints, monkeypatch):
    monkeypatch.setattr(package, "_CANNOT_CHANGE_A_NUMBER", ("gpubn.fake_b",))
    before = prints()
    assert prints(fake_b="def g(x):\n    return 2\n") == before
    assert prints(fake_a=FAKES["fake_a"].replace("2", "3")) != before


def test_what_runs_on_a_device_alone_counts_there(prints, monkeypatch, tmp_path):
    only_on = {"cupy": ("gpubn.fake_a",), "numba": ("gpubn.fake_b",)}
    monkeypatch.setattr(package, "_ONLY_ON", only_on)
    on_gpu = {"fake_a": FAKES["fake_a"].replace("2 * k", "5 * k")}
    compiled = {"fake_b": FAKES["fake_b"].replace("size = 1", "size = 3")}
    assert prints() == prints(**on_gpu) == prints(**compiled)
    found = {"cupy": [], "numba": []}
    for changed, source in (({}, ""), ({}, "int x;"), (on_gpu, "int x;"), (compiled, "int x;")):
        (tmp_path / "gpubn" / "norm.cu").write_text(f"{source}  // why\n")
        prints(**changed)
        for backend, of in found.items():
            of.append(fingerprint(("gpubn.fake_main:f",), backend))
    first, with_source, changed, unchanged = found["cupy"]
    assert len({first, with_source, changed}) == 3
    assert unchanged == with_source
    assert len({*found["numba"][:3]}) == 1
    assert found["numba"][3] != found["numba"][0]


def test_a_script_counts_with_what_it_refers_to(prints, tmp_path):
    script = tmp_path / "figure.py"
    script.write_text("from gpubn.fake_a import h\nh(1)\n")
    before = prints(script)
    assert prints(script, fake_d=FAKES["fake_d"].replace("1", "2")) != before
    assert prints(script, fake_b=FAKES["fake_b"].replace("size = 1", "size = 3")) != before
    assert prints(script, fake_a=FAKES["fake_a"].replace("3 * k", "4 * k")) == before
    script.write_text("from gpubn.fake_a import h\nh(2)\n")
    assert script_fingerprint(script) != before  # it is read each time
    assert script_fingerprint(script, "gpubn.fake_main:f") != script_fingerprint(script)


def closure(definitions):
    """The names of all that these definitions lead to on the CPU."""
    seen, waiting = set(), [modules.Definition(*d.split(":")) for d in definitions]
    while waiting:
        one = waiting.pop()
        if (
            one not in seen
            and one.module not in package._CANNOT_CHANGE_A_NUMBER
            and not f"{one.module}.".startswith(tuple(f"{part}." for part in ELSEWHERE))
        ):
            seen.add(one)
            shape = shapes.shape(one)
            waiting += shape.references + shape.effects
    return {one.name for one in seen}


@pytest.mark.parametrize("name", experiments.names())
def test_the_right_code_counts_in_every_experiment(name):
    experiment = experiments.get(name)
    config = Config(name=name, data=DataConfig(name=experiment.datasets[0]))
    names = closure(experiment.code(config))
    untrained = ("dropout_shift", "estimators", "moving_average", "exact", "listings")
    untrained += ("fixed_identity", "dropout_noise")
    assert "generator" in names
    assert ("initial_weight" in names) == (name not in untrained)
    assert ("Saturation" in names) == (name in ("mnist_init", "diagnostics", "starts"))
    assert ("_scaled" in names) == ("train" in names) == (config.data.name == "mnist")


def test_what_a_cell_chooses_by_name_counts_and_other_choices_do_not():
    code = experiments.get("bessel").code
    groups = closure(code(Config(name="bessel", norm=NormConfig(kind="ghost", ghost=8))))
    digits = closure(code(Config(name="bessel", data=DataConfig(name="digits"))))
    assert "GhostBatchNorm" in groups - digits
    rms = experiments.get("signal_batch").code(
        Config(name="signal_batch", norm=NormConfig(kind="rms"))
    )
    assert "RMSNorm" in closure(rms)
    assert "LayerNorm" not in closure(rms) | groups
    assert "_sha256_of_bytes" in digits - groups
    assert "_scaled" in groups - digits


def test_nothing_hides_from_the_fingerprint():
    """It follows absolute imports of names; the registry of experiments starts at each of them."""
    hidden = []
    for path in Path(gpubn.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if "import_module" in text and path.relative_to(ROOT).as_posix() not in REGISTRIES:
            hidden.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.level or node.names[0].name == "*"):
                hidden.append(f"{path.name}:{node.lineno}")
            if isinstance(node, ast.Name) and node.id in ("globals", "eval", "exec", "__import__"):
                hidden.append(f"{path.name}:{node.lineno}")
    assert hidden == []
