"""The console script: what it says without the extra, and the package alone, as pip installs it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from gpubn import __version__, commands

ROOT = Path(__file__).parents[2]
TINY = ["data=digits", "backend=numpy", "seeds=2", "optim.steps=4", "every=2", "model.width=4"]


@pytest.fixture
def call(monkeypatch, capsys):
    """call(*arguments): what `gpubn` prints, and the sentence that it ends with."""

    def gpubn(*arguments):
        monkeypatch.setattr(sys, "argv", ["gpubn", *arguments])
        try:
            commands.console()
        except SystemExit as stop:
            return capsys.readouterr().out, stop.code
        return capsys.readouterr().out, ""

    return gpubn


def test_help_names_every_command(call):
    said, error = call("--help")
    assert (said, error) == call()
    for command in commands.COMMANDS:
        assert f"\n  {command} " in said
        assert (ROOT / "scripts" / f"{command}.py").exists()
    assert call("--version") == (f"{__version__}\n", "")
    assert call("nope")[1].startswith("error: the command is 'nope'; expected one of run, build, ")


def test_without_the_extra_a_sentence_says_what_to_install(call, monkeypatch):
    def version(name):
        if name == "hydra-core":
            raise metadata.PackageNotFoundError
        return "1.0"

    needs = ["numpy>=2", 'hydra-core<1.4,>=1.3.2; extra == "experiments"', 'x; extra == "dev"']
    monkeypatch.setattr(commands, "requires", lambda name: needs)
    monkeypatch.setattr(commands, "version", version)
    said, error = call("run")
    assert not said
    assert error.startswith("error: gpubn run needs hydra-core; expected the extra experiments: ")


def test_without_docstrings_a_sentence_says_so(tmp_path):
    words = [sys.executable, "-OO", ROOT / "scripts" / "build.py", "--redraw"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: Python runs without docstrings \(-OO .*\n", done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel made of the source archive, which is made of a copy of the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("conf", "gpubn", "scripts", "results"):
        ignored = shutil.ignore_patterns("__pycache__", "cells", "runs", "figures.*")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in IN_FULL:
        (source / "results/full" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "results/full" / name).touch()
    assert not build("sdist", source)
    with tarfile.open(source / f"dist/gpubn-{__version__}.tar.gz") as archive:
        archive.extractall(source.parent / "unpacked", filter="data")
    (unpacked,) = (source.parent / "unpacked").iterdir()
    assert not build("wheel", unpacked)
    return unpacked / f"dist/gpubn-{__version__}-py3-none-any.whl"


IN_FULL = {
    "claims.csv": True,
    "tables/later.csv": True,
    "tables/a.json": True,
    "plans/p.csv": False,
}
"""What there may be of the full grids, and whether it travels."""


def build(kind, folder):
    """Build an archive of the sources into `dist` there, and return setuptools' complaints."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}('dist')"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}".splitlines()
    return [line for line in said if "deprecat" in line.lower() or "absent from" in line]


def test_the_wheel_holds_the_package_and_what_it_needs_of_the_repository(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    beside = {"conf": "*.yaml", "scripts/figures": "*.py", "results/tables": "*.*"}
    files = {p: p.relative_to(ROOT) for p in (ROOT / "gpubn").rglob("*") if "__py" not in str(p)}
    for folder, pattern in beside.items():
        files |= {
            path: Path("gpubn/_shipped", path.relative_to(ROOT))
            for path in (ROOT / folder).rglob(pattern)
        }
    plugins = ROOT / "scripts" / "hydra_plugins"
    files |= {path: path.relative_to(plugins.parent) for path in plugins.rglob("*.py")}
    assert (
        sorted(str(at) for path, at in files.items() if path.is_file() and str(at) not in held)
        == []
    )
    in_full = {name: f"gpubn/_shipped/results/full/{name}" in held for name in IN_FULL}
    assert in_full == IN_FULL
    assert {name.split("/")[0] for name in held if "dist-info" not in name} == {
        *("gpubn", "hydra_plugins"),
    }


DOORS = {
    "gpubn.interop.torch": "gpubn.interop.torch needs torch; expected PyTorch: pip install torch",
    "gpubn.report": "gpubn.report needs jinja2, matplotlib, pandas, pydantic, yaml; expected the "
    "extra experiments: pip install 'gpubn[experiments]'",
    "gpubn.sweeps": "gpubn.sweeps needs filelock, hydra, tqdm, yaml; expected the extra "
    "experiments: pip install 'gpubn[experiments]'",
    "gpubn.vectorized": "gpubn.vectorized needs hydra; expected the extra launcher: pip install "
    "'gpubn[launcher]'",
}
BEHIND = ("gpubn.commands.", "gpubn.interop.torch_", "gpubn.kernels.cpu.compiled.")
"""Modules that are imported through others, which say what they need."""
WALK = """
import numpy as np, pkgutil
from importlib import import_module
import gpubn

x = np.arange(12.0).reshape(2, 3, 2) ** 2
y, cache = gpubn.batch_norm(x, np.ones((2, 2)), np.zeros((2, 2)))
dx, dgamma, dbeta = gpubn.batch_norm_backward(y, cache)
print(abs(y.mean(axis=1)).max() < 1e-12, abs(dx).max() < 1e-3, dbeta.shape)
for module in pkgutil.walk_packages(gpubn.__path__, "gpubn.", onerror=lambda name: None):
    try:
        import_module(module.name)
    except ImportError as error:
        print(module.name, error, sep="|")
"""


def test_with_numpy_alone_kernels_run_and_each_room_names_its_extra(wheel, tmp_path):
    """In an environment that has nothing but what the package depends on."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for path in (Path(np.__file__).parent, Path(threadpoolctl.__file__)):
        (tmp_path / path.name).symlink_to(path)
    libraries = Path(np.__file__).parents[1] / "numpy.libs"
    (tmp_path / libraries.name).symlink_to(libraries)
    walk, run = (
        subprocess.run(
            [sys.executable, "-S", "-P", "-c", code],
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        for code in (WALK, "import sys, gpubn.commands as c; sys.argv = ['', 'run']; c.console()")
    )
    assert (walk.returncode, walk.stderr) == (0, "")
    first, *lines = walk.stdout.splitlines()
    assert first == "True True (2, 2)"
    said = dict(line.split("|") for line in lines if not line.startswith(BEHIND))
    assert said == DOORS
    assert run.returncode == 1
    assert run.stderr.startswith("error: gpubn run needs tqdm, pooch, ")
    assert run.stderr.endswith("the extra experiments: pip install 'gpubn[experiments]'\n")


def test_the_package_alone_runs_an_experiment_draws_its_figure_and_decides_claims(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    door = "from gpubn.commands import console\n\nif __name__ == '__main__':\n    console()\n"
    (tmp_path / "door.py").write_text(door)
    ours = {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    runs = (
        ["build", "--figure", "gamma_beta", *TINY],
        ["table", "experiment=mnist_init", *TINY[2:], "norm=none", "init=rand"],
        ["claims", "--published"],
    )
    said = [
        subprocess.run(
            [sys.executable, "door.py", *arguments],
            cwd=tmp_path,
            env=os.environ | ours,
            capture_output=True,
            text=True,
            check=False,
        )
        for arguments in runs
    ]
    built, none, decided = said
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "results/digits/figures/gamma_beta.png").exists()
    assert none.returncode == 1
    assert "`gpubn run -m experiment=mnist_init" in none.stderr
    assert decided.returncode == 0, decided.stderr
    for name in ("claims_evidence.csv", "coverage.csv"):
        published = ROOT / "results" / name
        assert (tmp_path / "results" / name).read_bytes() == published.read_bytes()
