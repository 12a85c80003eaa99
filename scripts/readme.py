"""Rewrite the generated parts of README.md from the committed results; no number is typed there."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from gpubn import experiments
from gpubn.files import write_atomic
from gpubn.report.claims.markdown import table
from gpubn.report.claims.rules import (
    CONDITIONAL,
    CONTRADICTED,
    NOT_REPRODUCED,
    OTHER_VALUE,
    UNDECIDED,
    VERDICTS,
)
from gpubn.report.figures import drawing as figures
from gpubn.sweeps import cli

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write README.md anew."""
    readme = ROOT / "README.md"
    write_atomic(readme, render(readme.read_text(), ROOT / "results").encode())


def render(text: str, results: Path) -> str:
    """Return the README's text with its generated parts made from `results`."""
    for name, content in (
        ("claims", _claims(results)),
        ("experiments", _experiments(results)),
        ("sweeps", _sweeps(results)),
        ("gpu", _gpu(results)),
        ("benchmarks", _bench(results)),
    ):
        text = re.sub(
            rf"(<!-- generated: {name} .*?-->\n).*?(<!-- end -->)",
            rf"\g<1>{content}\g<2>",
            text,
            flags=re.S,
        )
    return text


def _claims(results: Path) -> str:
    """What held, what held under a condition, what did not, and the table, from claims.csv."""
    path = results / "claims.csv"
    if not path.exists():
        return "Nothing is decided yet.\n"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = [_count(rows) + _replication(results)]
    for letter in dict.fromkeys(row["document"] for row in rows):
        mine = [row for row in rows if row["document"] == letter]
        shown = [
            (r["id"], r["verdict"] or "no verdict", _measured(r), r["published"], r["scope"])
            for r in mine
        ]
        columns = ("id", "verdict", "measured (first case shown)", "published", "about")
        parts += [
            f"**Document {letter}**\n",
            "\n".join(_listed(mine)) + "\n",
            f"<details><summary>Document {letter}: the table</summary>\n",
            table(columns, shown),
            "</details>\n",
        ]
    return "\n".join(parts)


def _count(rows: Sequence[dict[str, str]]) -> str:
    words = [w for w in VERDICTS if any(_word(row) == w for row in rows)]
    counts = "; ".join(f"{sum(_word(row) == w for row in rows)} {w}" for w in words)
    right = sum(bool(row["verdict"]) and _word(row) == row["predicted"] for row in rows)
    return f"Of {len(rows)} claims: {counts}. We had expected {right} of these verdicts.\n"


def _replication(results: Path) -> str:
    path = results / "replication.csv"
    if not path.exists():
        return ""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "primary"]
    alike = sum(row["decision"] == row["ours_decision"] for row in rows)
    apart = sum(row["agrees"] != "yes" for row in rows)
    claims = len({row["id"] for row in rows})
    return (
        f"For {claims} of them a program that shares no code with this one, on seeds of its own, "
        f"decided {len(rows)} cases: {alike} alike, {len(rows) - alike - apart} where one of the "
        f"two is open, {apart} otherwise ([replication.csv](results/replication.csv)).\n"
    )


def _word(row: dict[str, str]) -> str:
    """The verdict without its conditions."""
    if row["verdict"].startswith(CONDITIONAL):
        return CONDITIONAL
    return row["verdict"].split(":")[0]


def _measured(row: dict[str, str]) -> str:
    if not row["measured"]:
        return ""
    single = row["low"] == row["measured"] == row["high"]
    interval = "" if single else f" [{row['low']}, {row['high']}]"
    return f"{row['measured']}{interval} {row['unit']}".strip()


def _listed(rows: Sequence[dict[str, str]]) -> list[str]:
    """Lists of claims by what became of them, and one of those without a verdict."""
    names = ("Held", "Held only when", "Did not hold", "Undecided")
    lists: dict[str, list[str]] = {name: [] for name in names}
    for row in rows:
        line = f"{row['id']}: {row['claim']}"
        if "steps of batch" in row["scope"]:  # what training shows, it shows of these networks
            line += f" ({row['scope']})"
        verdict, word = row["verdict"], _word(row)
        if word == CONDITIONAL:
            lists["Held only when"].append(f"{line} *Only when {verdict[len(word) :].strip()}.*")
        elif word in (NOT_REPRODUCED, CONTRADICTED):
            lists["Did not hold"].append(f"{line} *{verdict.capitalize()}.*")
        elif word == UNDECIDED:
            rest = verdict[len(word) :].lstrip(": ")
            lists["Undecided"].append(f"{line} *{rest[:1].upper()}{rest[1:]}.*" if rest else line)
        elif word == OTHER_VALUE:
            lists["Held"].append(f"{line} *With another value.*")
        else:
            lists.setdefault("Held" if verdict else "No verdict", []).append(line)
    return [
        text
        for name, lines in lists.items()
        if lines or name != "Undecided"
        for text in (f"* {name}:" if lines else f"* {name}: none.", *(f"  * {x}" for x in lines))
    ]


def _experiments(results: Path) -> str:
    lines = ["| experiment | command | tables | figures | cells | seeds | made in |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in experiments.names():
        facts = json.loads((results / "tables" / f"{name}.json").read_text())
        mine = [script for script in figures.find() if script.experiment == name]
        tables = [
            stem
            for stem in (name, f"{name}_pooled")
            if (results / "tables" / f"{stem}.csv").exists()
        ]
        lines.append(
            f"| `{name}` | `python scripts/run.py -m experiment={name}` | "
            + ", ".join(f"[{stem}](results/tables/{stem}.csv)" for stem in tables)
            + " | "
            + (", ".join(f"[{s.name}](results/figures/{s.name}.png)" for s in mine) or "-")
            + f" | {len(facts['cells'])} | {facts['config']['seeds']} | "
            f"{facts['seconds']:.0f} s on {facts['device']} |"
        )
    return "\n".join(lines) + "\n"


def _sweeps(results: Path) -> str:
    """The vectorized launcher beside Hydra's basic one, from the benchmark's table."""
    path = results / "benchmarks" / "sweep_launchers.csv"
    if not path.exists():
        return "Launchers were not timed yet.\n"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    facts = json.loads(path.with_suffix(".json").read_text())
    by_work: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        by_work.setdefault(row["work"], {})[row["launcher"]] = row
    shown = [
        (
            work,
            f"{float(of['basic']['seconds']):.3g} s",
            f"{float(of['vectorized']['seconds']):.3g} s",
            f"{float(of['vectorized']['ms_per_cell']):.3g} ms",
            of["vectorized"]["basic_over_vectorized"],
        )
        for work, of in by_work.items()
    ]
    columns = ("one seed, rates x scales", "basic", "vectorized", "a cell", "ratio")
    return (
        f"On {facts['device']}, launchers in turns, medians of {rows[0]['rounds']} rounds, each a "
        f"fresh process:\n\n{table(columns, shown)}"
    )


def _gpu(results: Path) -> str:
    """What the benchmark on a GPU decided, from its targets."""
    path = results / "benchmarks" / "gpu_targets.csv"
    if not path.exists():
        return "The GPU path has not been timed yet.\n"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [(r["target"], r["needed"], r["measured"], r["met"]) for r in rows]
    return table(("target", "needed", "measured", "met"), shown)


def _bench(results: Path) -> str:
    def rows(name: str) -> list[dict[str, str]]:
        with (results / "benchmarks" / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    facts = json.loads((results / "benchmarks" / "cpu_training.json").read_text())
    lines = [
        f"On the CPU ({facts['device']}, NumPy {facts['numpy']}, PyTorch {facts['torch']} eager on "
        f"{facts['threads']} threads; median of interleaved rounds, above 1: faster than PyTorch). "
        "Training is fast because ten networks run at once, where PyTorch runs one after another; "
        "the batch norm kernel alone, plain NumPy, is no match for PyTorch's on larger batches.",
        "",
        "| work | ours | PyTorch | ratio |",
        "|---|---|---|---|",
    ]
    for row in rows("cpu_training"):
        norm = "no batchnorm" if row["batchnorm"] == "none" else "with batchnorm"
        work = f"{row['work']}, {row['steps']} steps of batch {row['batch']}, {norm}"
        lines.append(
            f"| {work} | {_seconds(row, 'ours')} | {_seconds(row, 'peer')} | {row['ratio']} |"
        )
    for row in rows("cpu_batchnorm"):
        work = f"{row['work']}, float32 ({row['rows']}, {row['units']})"
        lines.append(
            f"| {work} | {_seconds(row, 'ours')} | {_seconds(row, 'peer')} | {row['ratio']} |"
        )
    return "\n".join(lines) + "\n"


def _seconds(row: dict[str, str], who: str) -> str:
    seconds = float(row[f"{who}_seconds"])
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


if __name__ == "__main__":
    cli.main(main)
