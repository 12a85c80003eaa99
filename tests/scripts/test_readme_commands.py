"""The README: its commands work, its numbers are the committed ones, its files are there."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gpubn.report.claims.ledger import FOLDER as LEDGER

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].split("   #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.splitlines()
]
TINY = ["seeds=2", "optim.steps=4", "every=2", "data=digits", "data.examples=10", "model.width=6"]


def test_the_generated_parts_are_those_of_the_committed_results():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.rewritten(README, ROOT / "results") == README


def test_every_link_leads_to_a_file():
    targets = [target.partition("#") for target in re.findall(r"\]\(([^)]+)\)", README)]
    assert targets
    assert [path for path, *_ in targets if not (ROOT / path).exists()] == []
    for path, _, heading in targets:
        titles = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.M) if heading else []
        assert not heading or heading in [t.lower().replace(" ", "-") for t in titles], path


def test_the_example_of_a_claim_is_that_of_the_ledger():
    """It is shortened, and says nothing else."""
    ((example,),) = map(yaml.safe_load, re.findall(r"```yaml\n(- id.*?)```", README, re.S))
    book = yaml.safe_load((LEDGER / f"{example['id'][0]}.yaml").read_text())
    (entry,) = (claim for claim in book["claims"] if claim["id"] == example["id"])
    assert set(example) >= {"kind", "matters", "predicted", "threat", "measures", "quantities"}
    for key in ("kind", "cases"):
        assert example[key] == entry[key]
    for key in ("value", "basis"):
        assert example["matters"][key] == entry["matters"][key]
    assert example["predicted"] == entry["predicted"]
    for name, quantity in example["quantities"].items():
        assert quantity["value"] == entry["quantities"][name]["value"]
    for name, measure in example["measures"].items():
        wanted = entry["measures"][name]
        assert (measure["use"], measure["metric"]) == (wanted["use"], wanted["metric"])
        assert measure["where"].items() <= wanted["where"].items()


def test_the_library_example_runs():
    names = run_example(0)
    assert names["dx"].shape == names["x"].shape
    assert abs(names["z"] - names["y"]).max() < 1e-6


def test_the_example_for_pytorch_runs():
    torch = pytest.importorskip("torch")
    names = run_example(1)
    assert type(names["y"]) is torch.Tensor
    assert names["net"][1].weight.grad.shape == (128,)


def run_example(number):
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", README, re.S)[number], names)
    return names


NEEDS = {
    "hydra/launcher=pool": "hydra_plugins.hydra_joblib_launcher",
    "hydra/launcher=slurm": "hydra_plugins.hydra_submitit_launcher",
    "hydra/launcher=ray": "hydra_plugins.hydra_ray_launcher",
    "tracker=tensorboard": "tensorboardX",
    "tracker=mlflow": "mlflow",
}


def skip_without_its_extra(words):
    for word in words:
        try:
            found = word not in NEEDS or importlib.util.find_spec(NEEDS[word]) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            pytest.skip(f"{word} needs {NEEDS[word]}")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python")])
def test_a_python_command_runs(command, tmp_path):
    words = [sys.executable, *shlex.split(command)[1:]]
    skip_without_its_extra(words)
    if "hydra/launcher=slurm" in words:  # tests/slurm starts one
        words[2] = "--cfg=job"  # instead of -m
    given = {word.split("=")[0] for word in words}
    swept = [] if "-m" not in words else ["init=he"] * ("init" not in given)
    if "experiment=rate_sweep" in words:
        swept += ["norm=none", "model.activation=relu"]
    tiny = [t for t in TINY if t.split("=")[0] not in given]
    done = subprocess.run(
        [*words, *swept, *tiny, f"results={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--cfg=job" in words or list((tmp_path / "cells").rglob("*.json"))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_a_make_command_names_a_target_that_calls_a_script(command):
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scripts = re.findall(r"scripts/[\w/]+\.py", done.stdout)
    assert all((ROOT / script).exists() for script in scripts)
    assert scripts or any(tool in done.stdout for tool in ("pytest", "ruff", "pip install"))


def test_every_command_is_of_a_kind_that_is_tested():
    assert COMMANDS
    rest = [c for c in COMMANDS if not c.startswith(("make ", "python ", "pip install ."))]
    assert rest == []
