"""The README's verdicts are those of claims.csv."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = "id,document,claim,published,measured,low,high,unit,rule,verdict,tables,figures\n"
ROWS = """A1,A,One | two.,3e-35,1.5,1.4,1.6,times,r,reproduced,t,f
A2,A,Two.,,1,1,1,bits,r,"reproduced, other value",t,
A3,A,Three.,,2,1,3,s,r,holds only when the rate is high,t,
A4,A,Four.,,2,1,3,s,r,not reproduced,t,
A5,A,Five.,,2,1,3,s,r,contradicted,t,
A6,A,Six.,,,,,s,r,,t,
B1,B,One.,,2,1,3,s,r,not reproduced,t,
"""
BLOCK = """Of 7 claims: 1 reproduced; 1 reproduced, other value; 1 holds only when; \
2 not reproduced; 1 contradicted.

**Document A**

* Held:
  * A1: One | two.
  * A2: Two. *With another value.*
* Held only when:
  * A3: Three. *Only when the rate is high.*
* Did not hold:
  * A4: Four. *Not reproduced.*
  * A5: Five. *Contradicted.*
* No verdict:
  * A6: Six.

<details><summary>Document A: the table</summary>

| id | claim | verdict | measured | published |
| --- | --- | --- | --- | --- |
| A1 | One \\| two. | reproduced | 1.5 [1.4, 1.6] times | 3e-35 |
| A2 | Two. | reproduced, other value | 1 bits |  |
| A3 | Three. | holds only when the rate is high | 2 [1, 3] s |  |
| A4 | Four. | not reproduced | 2 [1, 3] s |  |
| A5 | Five. | contradicted | 2 [1, 3] s |  |
| A6 | Six. | no verdict |  |  |

</details>

**Document B**

* Held: none.
* Held only when: none.
* Did not hold:
  * B1: One. *Not reproduced.*

<details><summary>Document B: the table</summary>

| id | claim | verdict | measured | published |
| --- | --- | --- | --- | --- |
| B1 | One. | not reproduced | 2 [1, 3] s |  |

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
    assert readme._claims(tmp_path) == BLOCK


def test_before_anything_is_decided(readme, tmp_path):
    assert readme._claims(tmp_path) == "Nothing is decided yet.\n"


def test_the_readme_has_the_block():
    assert (ROOT / "README.md").read_text().count("<!-- generated: claims (") == 1
