"""What an extension holds is found wherever ours is; one that does not fit is refused."""

import csv
import re

import numpy as np
import pytest

from gpubn import experiments, extensions
from gpubn.commands.own import check_extensions, check_tables, choose, families
from gpubn.config import Config, DataConfig
from gpubn.data import dataset_names, load
from gpubn.errors import ConfigError, GpubnError
from gpubn.files import shipped
from gpubn.fingerprint import fingerprint
from gpubn.nn import norms
from gpubn.report.claims import decide_all, ledgers
from gpubn.report.figures import drawing
from gpubn.report.tables import write_table
from gpubn.rows import per_seed
from gpubn.sweeps.compose import expand, grid_override
from tests.extended import EXPERIMENT, FIGURE, FILES, LEDGER, write_extension

A_CLAIM = LEDGER.replace("document: E", "document: D").replace("E1", "D1")
OWN = Config(name="own", data=DataConfig("blobs"))


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No extension but those of the test, in no process after it."""
    monkeypatch.setenv(extensions.VARIABLE, "")


@pytest.fixture
def extend(tmp_path):
    """extend(files, name): the only extension, of this name and with these files."""

    def write(files=FILES, name="mine"):
        folder = write_extension(tmp_path / name, files)
        assert extensions.extend(["-m", f"extend={folder}", "seeds=2"]) == ["-m", "seeds=2"]
        return extensions.extensions()[-1]

    return write


def test_without_any_there_is_none():
    assert extensions.extensions() == ()
    assert extensions.extend(["experiment=exact"]) == ["experiment=exact"]
    assert families(None) == [None]


def test_each_part_of_it_is_found_beside_ours(extend):
    ours = experiments.names(), dataset_names(), {s.name for s in drawing.find()}
    mine = extend(FILES | {"one.py": "from gpubn.experiments.catalogue import BESSEL\n"})
    assert experiments.names() == (*ours[0], "own")  # not what it only imports
    assert experiments.names(mine) == ("own",)
    assert experiments.get("own").datasets == (*ours[1], "blobs") == dataset_names()
    assert load("blobs") is load("blobs")
    assert load("blobs").x_train.shape == (60, 3)
    assert {s.name for s in drawing.find()} == {*ours[2], "own_losses"}
    assert norms.kinds().keys() == {*norms.KINDS, "centred"}
    assert norms.kinds()["centred"] == f"{mine.package}.norms:CentredNorm"
    assert families(None) == [None, mine]
    assert families("mine") == [mine]
    check_extensions()
    cells = expand(["experiment=own"])
    assert [(c.axes["data"], c.axes["norm"], c.axes["rate"]) for c in cells] == [
        ("blobs", norm, rate) for norm in ("none", "centred") for rate in ("0.1", "0.3")
    ]
    assert len({cell.id for cell in cells}) == 4


def test_a_grid_in_full_may_be_its_own(extend):
    assert grid_override("own", full=True) == "experiment=own"
    extend(FILES | {"conf/experiment/full/own.yaml": EXPERIMENT})
    assert grid_override("own", full=True) == "experiment=full/own"


def test_two_of_them_and_one_that_is_installed(extend, tmp_path, monkeypatch):
    site = tmp_path / "site"
    more = {"parts/one.py": MORE, "__init__.py": "", "parts/__init__.py": "", "parts/two.py": "n=1"}
    write_extension(site / "package", more)
    points = "[gpubn.extensions]\nthird = package.parts\n"
    write_extension(site / "package-1.0.dist-info", {"entry_points.txt": points, "METADATA": HEAD})
    monkeypatch.syspath_prepend(site)
    extensions._installed.cache_clear()
    extensions._found.cache_clear()
    try:
        extend({"figures/fourth.py": FIGURE.replace("own", "exact")}, "second")
        extend()
        found = [extension.name for extension in extensions.extensions()]
        assert found == ["third", "second", "mine"]
        assert experiments.get("third").code(OWN)[0] == "package.parts.one:THIRD"
        before = fingerprint(("package.parts.one:SIZE",))
        assert before != fingerprint(("package.parts.two:n",))
        assert experiments.names(choose("third")) == ("third",)
        assert experiments.names(choose("second")) == ()
        assert choose("third").folder == site / "package" / "parts"
    finally:
        extensions._installed.cache_clear()
        extensions._found.cache_clear()


HEAD = "Metadata-Version: 2.1\nName: package\nVersion: 1.0\n"
MORE = """
from gpubn.experiments.training.trainer import training_experiment
from package.parts.two import n

SIZE = n
THIRD = training_experiment("third", {}, evaluated=SIZE)
"""


# The code that made a number ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("more.py", "", "", True),
        ("more.py", "\nOWN", "\n# a comment\nOWN", True),
        ("more.py", "evaluated=50", "evaluated=51", False),
        ("probes.py", "** 0.5", "** 0.25", False),
        ("probes.py", "The Frobenius norm", "Frobenius' norm", True),
        ("sets/blobs.py", "0.1 *", "0.2 *", False),
    ],
)
def test_a_cell_is_run_again_where_code_of_an_extension_changed(
    extend, tmp_path, monkeypatch, file, old, new, same
):
    """Wherever the extension lies, and what it is called."""
    extend()
    before = fingerprint(experiments.get("own").code(OWN))
    monkeypatch.setenv(extensions.VARIABLE, "")
    extend(FILES | {file: FILES[file].replace(old, new)}, "elsewhere")
    assert (fingerprint(experiments.get("own").code(OWN)) == before) == same


# What does not fit --------------------------------------------------------------------------------

TWIN = FILES["more.py"].replace('"own"', '"bessel"')
REFUSED = [
    ({"readme.txt": ""}, r"mine holds nothing; expected any of conf/"),
    (
        {"a.py": "import nope"},
        r"mine/a\.py cannot be imported \(ModuleNotFound.*, line 1 of .*a\.py",
    ),
    ({"a.py": "x = = 1"}, r"mine/a\.py cannot be imported \(SyntaxError"),
    ({"a.py": "", "__init__.py": "1 / 0"}, r"__init__\.py cannot be imported \(ZeroDivision"),
    (FILES | {"more.py": TWIN}, r"experiment 'bessel' of .*more\.py exists already"),
    (FILES | {"twin.py": FILES["more.py"]}, r"experiment 'own' of .*twin\.py exists already"),
    ({"a.py": "class A: pass\nNORMS = {'ghost': A}"}, "norm 'ghost' of gpubn_ext.* exists already"),
    ({"a.py": "NORMS = {'x': 1}"}, "NORMS has 'x': 1; expected a subclass of Norm"),
    ({"sets/digits.py": ""}, "dataset 'digits' of .*mine exists already"),
    ({"sets/a.py": "def locate(root): pass"}, r"sets/a\.py has no load; expected"),
    ({"sets/a.py": "import nope"}, r"sets/a\.py cannot be imported"),
    ({"figures/bessel.py": FILES["figures/own_losses.py"]}, "figure 'bessel' of .* exists already"),
    ({"figures/a.py": ""}, r"a\.py has no draw that is declared"),
    ({"conf/init/he.yaml": ""}, "the file 'conf/init/he.yaml' of .*mine exists already"),
    ({"ledger/D.yaml": A_CLAIM}, "the document 'D' of .*mine/ledger exists already"),
    ({"ledger/E.yaml": LEDGER.replace("effect", "efect")}, "E1: has kind 'efect'; expected one of"),
    ({"ledger/E.yaml": "document: E"}, r"E\.yaml: has no title; .*; E\.yaml: has no claims"),
    ({"ledger/E.yaml": LEDGER}, "E1 of mine reads the table own; expected that of an experiment"),
]


@pytest.mark.parametrize(("files", "said"), REFUSED)
def test_what_does_not_fit_is_one_sentence(extend, tmp_path, files, said):
    def check():
        extend(files)
        check_extensions()
        check_tables(tmp_path)

    with pytest.raises(GpubnError, match=said) as refused:
        check()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["extend=nope"], "extension .*nope is no folder; expected one that is there"),
        (["extend="], "extend= names no folder; expected extend=folder"),
        (["extend=a/mine", "extend=b/mine"], "two extensions are called mine; expected a name for"),
        (["extend=[a/mine,b/mine]"], "two extensions are called mine"),
    ],
)
def test_a_command_line_that_names_none(tmp_path, monkeypatch, named, said):
    monkeypatch.chdir(tmp_path)
    for folder in "ab":
        write_extension(tmp_path / folder / "mine", {"conf/a.yaml": ""})
    with pytest.raises(GpubnError, match=said):
        extensions.extend(named)


def test_another_name_than_that_of_an_extension(extend):
    extend()
    with pytest.raises(ConfigError, match="--only is 'yours'; expected mine"):
        choose("yours")


# Claims -------------------------------------------------------------------------------------------


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_claims_of_its_own_are_a_family_with_a_report_of_its_own(extend, tmp_path):
    """Ours stay the same to the byte; where ours are many p is adjusted, and alone it is not."""
    results, published = tmp_path / "results", shipped("results")
    losses = per_seed(range(9), "batch_loss", np.arange(1.0, 10.0), step=9)
    write_table(results / "tables" / "own.csv", [({"norm": "none", "rate": "0.1"}, losses)], {})
    shows_ours = FIGURE.replace('("own",)', '("exact",)').replace('("E1",)', '("A1", "E1")')
    ledger = LEDGER.replace("0.001", "2")
    mine = extend(FILES | {"figures/more.py": shows_ours, "ledger/E.yaml": ledger})
    check_tables(results)
    decide_all(results, [published])
    for name in ("claims.csv", "claims_evidence.csv"):
        assert (results / name).read_bytes() == (published / name).read_bytes()
    (decision,) = decide_all(results, [published], own=mine)
    assert (decision.id, decision.verdict) == ("E1", "reproduced")
    folder = results / "extensions" / "mine"
    (evidence,) = rows(folder / "claims_evidence.csv")
    assert 0 < float(evidence["p"]) == float(evidence["p_holm"]) < 0.05
    (claim,) = rows(folder / "claims.csv")
    assert (claim["verdict"], claim["figures"]) == ("reproduced", "more;own_losses")
    page = (folder / "claims.md").read_text()
    assert "that of the extension mine" in page
    assert "[own](../../tables/own.csv)" in page
    assert not re.search("four documents|History|history", page)
    assert not (folder / "claims_history.csv").exists()
    (script,) = drawing.find(["own_losses"])
    assert drawing.verdicts(script, results) == "E1 reproduced."
    assert list(ledgers()) == [mine]
