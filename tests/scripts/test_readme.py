"""The README's verdicts are those of claims.csv."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = (
    "id,document,claim,published,measured,low,high,unit,matters,verdict,scope,predicted,tables,"
    "figures\n"
)
ROWS = """A1,A,One | two.,3e-35,1.5,1.4,1.6,times,1,reproduced,ten layers | here,reproduced,t,f
A2,A,Two.,,1,1,1,bits,1,"reproduced, other value",,reproduced,t,
A3,A,Three.,,2,1,3,s,1,holds only when the rate is high; not when it is low,,holds only when,t,
A4,A,Four.,,2,1,3,s,1,not reproduced,,contradicted,t,
A5,A,Five.,,2,1,3,s,1,contradicted,,contradicted,t,
A6,A,Six.,,,,,s,1,,,reproduced,t,
A7,A,Seven.,,2,1,3,s,1,undecided,,undecided,t,
A8,A,Eight.,,2,1,3,s,1,undecided: shown when it is red; open when it is blue,,reproduced,t,
B1,B,One.,,2,1,3,s,1,not reproduced,,not reproduced,t,
"""
BLOCK = """Of 9 claims: 1 reproduced; 1 reproduced, other value; 1 holds only when; \
2 not reproduced; 1 contradicted; 2 undecided. We had expected 5 of these \
verdicts.

**Document A**

* Held:
  * A1: One | two.
  * A2: Two. *With another value.*
* Held only when:
  * A3: Three. *Only when the rate is high; not when it is low.*
* Did not hold:
  * A4: Four. *Not reproduced.*
  * A5: Five. *Contradicted.*
* Undecided:
  * A7: Seven.
  * A8: Eight. *Shown when it is red; open when it is blue.*
* No verdict:
  * A6: Six.

<details><summary>Document A: the table</summary>

| id | verdict | measured (first case shown) | published | about |
| --- | --- | --- | --- | --- |
| A1 | reproduced | 1.5 [1.4, 1.6] times | 3e-35 | ten layers \\| here |
| A2 | reproduced, other value | 1 bits |  |  |
| A3 | holds only when the rate is high; not when it is low | 2 [1, 3] s |  |  |
| A4 | not reproduced | 2 [1, 3] s |  |  |
| A5 | contradicted | 2 [1, 3] s |  |  |
| A6 | no verdict |  |  |  |
| A7 | undecided | 2 [1, 3] s |  |  |
| A8 | undecided: shown when it is red; open when it is blue | 2 [1, 3] s |  |  |

</details>

**Document B**

* Held: none.
* Held only when: none.
* Did not hold:
  * B1: One. *Not reproduced.*

<details><summary>Document B: the table</summary>

| id | verdict | measured (first case shown) | published | about |
| --- | --- | --- | --- | --- |
| B1 | not reproduced | 2 [1, 3] s |  |  |

</details>
"""


@pytest.fixture(scope="module")
def readme():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_block_of_verdicts(readme, tmp_path):
    (tmp_path / "claims.csv").write_text(HEADER + ROWS)
    assert readme.generated("claims", tmp_path) == BLOCK


def test_what_the_independent_program_decided(readme, tmp_path):
    (tmp_path / "claims.csv").write_text(HEADER + ROWS)
    (tmp_path / "replication.csv").write_text(
        "id,role,decision,ours_decision,agrees\nA1,primary,shown,shown,yes\n"
        "A1,primary,shown,open,yes\nA2,primary,shown,fails,no\nA2,primary,open,,missing\n"
        "A2,report,,,\n"
    )
    said = " ".join(readme.generated("claims", tmp_path).split())
    assert "For 2 of them" in said
    assert "decided 4 cases: 1 alike, 1 where one of the two is open, 2 otherwise" in said


def test_an_entry_that_is_malformed_was_not_predicted(readme, tmp_path):
    (tmp_path / "claims.csv").write_text(HEADER + "A9,A,,,,,,,,,,,,\n")
    assert "expected 0 of these verdicts" in " ".join(readme.generated("claims", tmp_path).split())


def test_every_claim_stands_in_one_list(readme, tmp_path):
    (tmp_path / "claims.csv").write_text(HEADER + ROWS)
    lines = readme.generated("claims", tmp_path).splitlines()
    listed = [line.split(":")[0].strip("* ") for line in lines if line.startswith("  * ")]
    assert sorted(listed) == sorted(row.split(",")[0] for row in ROWS.splitlines())


def test_before_anything_is_decided(readme, tmp_path):
    assert readme.generated("claims", tmp_path) == "Nothing is decided yet.\n"


def test_the_readme_has_the_block():
    assert (ROOT / "README.md").read_text().count("<!-- generated: claims (") == 1
