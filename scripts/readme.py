"""Rewrite the generated parts of README.md from the committed results; no number is typed there."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from gpubn import experiments
from gpubn.files import write_atomic
from gpubn.report.claims.rules import (
    CONDITIONAL,
    CONTRADICTED,
    NOT_REPRODUCED,
    OTHER_VALUE,
    REPRODUCED,
    UNDECIDED,
    verdict_word,
)
from gpubn.report.figures import drawing as figures
from gpubn.report.render import render
from gpubn.sweeps import cli

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_suffix(".md.jinja")
OUTCOMES = {
    REPRODUCED: "Held",
    OTHER_VALUE: "Held",
    CONDITIONAL: "Held only when",
    NOT_REPRODUCED: "Did not hold",
    CONTRADICTED: "Did not hold",
    UNDECIDED: "Undecided",
}
"""Verdict -> the list in which a claim stands."""

_Rows = list[dict[str, Any]]


def main() -> None:
    """Write README.md anew."""
    readme = ROOT / "README.md"
    write_atomic(readme, rewritten(readme.read_text(), ROOT / "results").encode())


def rewritten(text: str, results: Path) -> str:
    """Return the README's text with its generated parts made from `results`."""
    return re.sub(
        r"(<!-- generated: (\w+) .*?-->\n).*?(<!-- end -->)",
        lambda match: match[1] + generated(match[2], results) + match[3],
        text,
        flags=re.S,
    )


def generated(part: str, results: Path) -> str:
    """Return one generated part: claims, experiments, sweeps, gpu or benchmarks."""
    facts = {f.__name__[1:]: f for f in (_claims, _experiments, _sweeps, _gpu, _benchmarks)}
    return render(TEMPLATE, part=part, **facts[part](results))


def _rows(path: Path) -> _Rows:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _claims(results: Path) -> dict[str, Any]:
    """What held, what held under a condition, what did not, and the tables, from claims.csv."""
    rows = _rows(results / "claims.csv")
    documents: dict[str, dict[str, _Rows]] = {}
    for row in rows:
        verdict = row["verdict"]
        row["word"] = verdict_word(verdict) if verdict else ""
        row["rest"] = verdict.removeprefix(row["word"]).strip(": ")
        single = row["low"] == row["measured"] == row["high"]
        interval = "" if single else f" [{row['low']}, {row['high']}]"
        row["shown"] = (
            f"{row['measured']}{interval} {row['unit']}".strip() if row["measured"] else ""
        )
        empty: dict[str, _Rows] = {name: [] for name in (*OUTCOMES.values(), "No verdict")}
        outcomes = documents.setdefault(row["document"], empty)
        outcomes[OUTCOMES.get(row["word"], "No verdict")].append(row)
    counts = Counter(row["word"] for row in rows)
    return {
        "claims": rows,
        "documents": documents,
        "count": len(rows),
        "counts": {word: counts[word] for word in OUTCOMES if counts[word]},
        "foreseen": sum(bool(row["word"]) and row["word"] == row["predicted"] for row in rows),
        "replication": _replication(results),
    }


def _replication(results: Path) -> dict[str, int]:
    rows = [r for r in _rows(results / "replication.csv") if r["role"] == "primary"]
    alike = sum(row["decision"] == row["ours_decision"] for row in rows)
    apart = sum(row["agrees"] != "yes" for row in rows)
    if not rows:
        return {}
    return {
        "claims": len({row["id"] for row in rows}),
        "cases": len(rows),
        "alike": alike,
        "open": len(rows) - alike - apart,
        "apart": apart,
    }


def _experiments(results: Path) -> dict[str, Any]:
    known = []
    for name in experiments.names():
        facts = json.loads((results / "tables" / f"{name}.json").read_text())
        paths = {stem: f"results/tables/{stem}.csv" for stem in (name, f"{name}_pooled")}
        tables = {s: p for s, p in paths.items() if (results / "tables" / f"{s}.csv").exists()}
        drawn = [s.name for s in figures.find() if s.experiment == name]
        links = {figure: f"results/figures/{figure}.png" for figure in drawn}
        known.append({**facts, "name": name, "tables": tables, "figures": links})
    return {"experiments": known}


def _sweeps(results: Path) -> dict[str, Any]:
    """The vectorized launcher beside Hydra's basic one, from the benchmark's table."""
    path = results / "benchmarks" / "sweep_launchers.csv"
    rows = _rows(path)
    work: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        work.setdefault(row["work"], {})[row["launcher"]] = row
    facts = json.loads(path.with_suffix(".json").read_text()) if rows else {}
    return {"launchers": rows, "work": work, "facts": facts}


def _gpu(results: Path) -> dict[str, Any]:
    """What the benchmark on a GPU decided, from its targets."""
    rows = _rows(results / "benchmarks" / "gpu_targets.csv")
    columns = ("target", "needed", "measured", "met")
    return {"targets": [[row[column] for column in columns] for row in rows]}


def _benchmarks(results: Path) -> dict[str, Any]:
    folder = results / "benchmarks"
    return {
        "facts": json.loads((folder / "cpu_training.json").read_text()),
        "training": _rows(folder / "cpu_training.csv"),
        "batchnorm": _rows(folder / "cpu_batchnorm.csv"),
    }


if __name__ == "__main__":
    cli.main(main)
