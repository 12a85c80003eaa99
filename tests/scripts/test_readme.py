"""README and Makefile: commands work, numbers are the committed ones, files are there."""

import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from gpubn.report.claims.ledger import FOLDER as LEDGER
from gpubn.sweeps.compose import expand
from tests.scripts.sweeping import ROOT, is_installed, load_script

PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("conf/README.md", "gpubn/kernels/README.md", "gpubn/EXTENDING.md"),
)
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
README = TEXTS["README.md"]
COMMANDS = [
    line.split("  #")[0].strip()
    for text in TEXTS.values()
    for block in re.findall(r"```sh\n(.*?)```", text, re.S)
    for line in block.splitlines()
]
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXTS["gpubn/kernels/README.md"], re.S)
CLAIMS = """\
id,document,claim,published,measured,low,high,unit,matters,verdict,scope,predicted,tables,figures
A1,A,One | two.,3e-35,1.5,1.4,1.6,times,1,reproduced,ten layers | here,reproduced,t,f
A2,A,Two.,,1,1,1,bits,1,"reproduced, other value",,reproduced,t,
A6,A,,,,,,,,,,,,
B1,B,One.,,2,1,3,s,1,not reproduced,,not reproduced,t,
"""
COVERAGE = """\
document,number,kind,claim
A,1,sentence,A1
A,2,sentence,
B,1,plot,A6
"""
REPLICATION = """\
id,quantity,role,n,mean,low,high,decision
A1,x,primary,9,1,0,2,shown
A1,y,primary,9,1,0,2,shown
A2,x,primary,9,1,0,2,shown
A2,y,primary,9,1,0,2,shown
A2,z,primary,9,1,0,2,open
A2,w,report,9,1,0,2,
"""
EVIDENCE = """\
id,quantity,role,label,n,mean,low,high,unit,decision
A1,x,primary,one,9,1,0,2,nats,shown
A1,y,primary,two,9,1,0,2,nats,open
A2,x,primary,three,9,1,0,2,nats,fails
A2,y,primary,four,9,1,0,2,nats,opposite
A2,z,report,five,9,1,0,2,nats,
A2,w,report,six,9,1,0,2,nats,
"""

# Generated parts ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readme():
    return load_script("readme")


def test_the_generated_parts_are_those_of_the_committed_results(readme):
    assert {str(page.relative_to(ROOT)) for page in readme.PAGES} < {*PAGES}
    for page in readme.PAGES:
        assert readme.rewritten(page, ROOT / "results") == page.read_text()
    parts = re.findall("<!-- generated: ([a-z]+)", "".join(TEXTS.values()))
    known = ["benchmarks", "claims", "experiments", "figure", "gpu", "sweeps", "universes"]
    assert sorted(parts) == known


def test_the_readme_is_short():
    assert len(README.encode()) < 8_000


def test_verdicts_and_what_the_independent_program_decided(readme, tmp_path):
    assert readme.generated("claims", tmp_path) == "Nothing is decided yet.\n"
    (tmp_path / "claims.csv").write_text(CLAIMS)
    (tmp_path / "replication.csv").write_text(REPLICATION)
    (tmp_path / "claims_evidence.csv").write_text(EVIDENCE)
    assert "passages" not in readme.generated("claims", tmp_path)
    (tmp_path / "coverage.csv").write_text(COVERAGE)
    said = readme.generated("claims", tmp_path)
    counted = "Of 4 claims: 1 reproduced; 1 reproduced, other value; 1 not reproduced. "
    assert said.startswith(f"{counted}We had expected 2 of these verdicts.\n")
    said = " ".join(said.split())
    assert "For 2 of them" in said
    counted = (
        "They decide 2 of the documents' 3 passages (2 sentences, 0 equations, 0 listings, 1 plots"
    )
    assert f"{counted}); the others are [out of scope](results/coverage.md)." in said
    assert "decided 4 cases: 1 alike, 1 where one of the two is open, 2 otherwise" in said
    assert "On seeds that nobody" not in said
    (tmp_path / "freezes.csv").write_text("date,hash\n2030-01-01,a\n2030-02-03,b\n")
    outcomes = ("same", "same", "other conditions", "fallen")
    rows = "".join(f"A{i},{outcome},a,7 to 9\n" for i, outcome in enumerate(outcomes))
    (tmp_path / "confirmation.csv").write_text(f"id,outcome,freeze,seeds\n{rows}")
    said = readme.generated("claims", tmp_path)
    counted = (
        "2 verdicts the same, 1 under other conditions, 0 open in one of the two, 1 fallen (A3)"
    )
    quick = f"when the rules were frozen (7 to 9), quick grids: {counted} "
    assert f"{quick}([confirmation](results/confirmation.md))" in said
    assert "full grids:" not in said
    (tmp_path / "full").mkdir()
    full = tmp_path / "full" / "confirmation.csv"
    rows = "A1,same,a,20 to 29\nA2,same,a,20 to 29\nA3,same,b,40 to 49\n"
    full.write_text(f"id,outcome,freeze,seeds\n{rows}")
    said = readme.generated("claims", tmp_path)
    seeds = "20 to 29; 40 to 49 for A3"
    assert f"when the rules were frozen ({seeds}), full grids: 3 verdicts the same" in said
    assert quick in said


def test_verdicts_in_full_come_first(readme, tmp_path):
    (tmp_path / "claims.csv").write_text(CLAIMS)
    (tmp_path / "full").mkdir()
    in_full = CLAIMS.replace("1,reproduced,ten", "1,not reproduced,ten")
    in_full = in_full.replace("A6,A,,,,,,,,,,,,", "A6,A,Six.,,1,1,1,s,1,undecided: open,,x,t,")
    in_full = in_full.replace("3,s,1,not reproduced", "3,s,1,")
    (tmp_path / "full" / "claims.csv").write_text(in_full)
    said = readme.generated("claims", tmp_path)
    counted = "Of 4 claims: 1 reproduced, other value; 1 not reproduced; 1 undecided. We had expe"
    assert said.startswith(counted)
    assert "verdicts in full; the quick grids give 3 of them otherwise (A1, A6, B1)." in said


def test_the_raster_is_shown_where_it_is_drawn(readme, tmp_path):
    (tmp_path / "claims.csv").write_text(CLAIMS)
    assert "![" not in readme.generated("claims", tmp_path)
    (tmp_path / "figures").mkdir()
    said = '{"title": "All", "caption": "n in [1, 2]."}'
    (tmp_path / "figures" / "universes.json").write_text(said)
    shown = "![All. n in \\[1, 2\\].](results/figures/universes.png)"
    assert shown in readme.generated("claims", tmp_path).splitlines()


# What is typed ------------------------------------------------------------------------------------


def test_every_link_leads_to_a_file():
    for page, text in TEXTS.items():
        targets = [target.partition("#") for target in re.findall(r"\]\(([^)]+)\)", text)]
        assert targets
        for path, _, heading in targets:
            file = (ROOT / page).parent / path
            assert file.exists(), path
            text = file.read_text() if heading else ""
            titles = [t.lower().replace(" ", "-") for t in re.findall(r"^#+ (.*)$", text, re.M)]
            anchors = [*titles, *re.findall(r'<a id="([^"]+)"></a>', text)]
            assert not heading or heading in anchors, path


def test_the_example_of_a_claim_is_that_of_the_ledger():
    """It is shortened, and says nothing else."""
    ((example,),) = map(
        yaml.safe_load, re.findall(r"```yaml\n(- id.*?)```", TEXTS["conf/README.md"], re.S)
    )
    book = yaml.safe_load((LEDGER / f"{example['id'][0]}.yaml").read_text())
    (entry,) = (claim for claim in book["claims"] if claim["id"] == example["id"])
    for key in ("kind", "cases", "predicted"):
        assert example[key] == entry[key]
    for name, quantity in example["quantities"].items():
        assert quantity["value"] == entry["quantities"][name]["value"]
    for name, measure in example["measures"].items():
        assert measure["where"].items() <= entry["measures"][name]["where"].items()


def test_the_library_example_runs():
    exec(EXAMPLES[0], names := {})
    assert names["dx"].shape == names["x"].shape
    assert abs(names["z"] - names["y"]).max() < 1e-6


def test_the_example_for_pytorch_runs():
    torch = pytest.importorskip("torch")
    exec(EXAMPLES[1], names := {})
    assert type(names["y"]) is torch.Tensor
    assert names["net"][1].weight.grad.shape == (128,)


@pytest.fixture
def make():
    """make(*arguments): its output."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")

    command = ["make", "--no-print-directory"]
    return lambda *words: subprocess.check_output([*command, *words], cwd=ROOT, text=True)


NEEDS = {"pool": "joblib", "slurm": "submitit", "ray": "ray"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_of_a_kind_that_is_tested(command, make, tmp_path):
    """A make target calls a script; run.py chooses cells, whose launcher is composed, too."""
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(r"scripts/[\w/]+\.py|pytest|ruff|pip install", make("-n", *words))
    elif program == "python":
        for launcher, extra in NEEDS.items():
            if f"hydra/launcher={launcher}" in words and not is_installed(extra):
                pytest.skip(f"{command} needs {extra}")
        script, *chosen = [word for word in words if word != "-m"]
        names = {cell.config.name for cell in expand(chosen, tmp_path)}
        assert (script, [f"experiment={n}" for n in names]) == ("scripts/run.py", chosen[:1])
    else:
        assert command.startswith("pip install .")


# The make targets ---------------------------------------------------------------------------------

MAKEFILE = (ROOT / "Makefile").read_text()


def test_help_lists_every_target(make):
    phony = sorted(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split())
    lines = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", make("help"), re.M))
    assert sorted(lines) == phony == sorted(re.findall(r"^([a-z][\w-]*):(?!=)", MAKEFILE, re.M))


CALLS = {
    "figures": "scripts/build.py --figure x --results y --style slides a=1",
    "results": "scripts/build.py --tables-only --figure x --results y --style slides a=1",
    "redraw": "scripts/build.py --redraw --figure x --results y --style slides",
    "sweep": "scripts/run.py -m a=1",
    "test": "-m pytest -n 0 --dist loadfile a=1",
}


@pytest.mark.parametrize(("target", "expected"), CALLS.items())
def test_arguments_are_passed_on_to_a_program_of_the_venv(make, target, expected):
    shown = make("-n", target, "FIGURE=x", "RESULTS=y", "STYLE=slides", "ARGS=a=1", "GPU=0")
    assert f".venv/bin/python {expected}" in " ".join(shown.replace("'", "").split())
    assert "a=1" not in make("-n", target, "GPU=0")


def test_clean_keeps_tables_and_figures(make):
    removed = make("-n", "clean").split()
    assert "results/cells" in removed
    assert not {"results", "results/", "results/tables", "results/figures"} & set(removed)
