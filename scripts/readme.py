"""Rewrite the generated parts of README.md from the committed results; no number is typed there."""

import csv
import json
import re
from pathlib import Path

from gpubn import cli, experiments, figures
from gpubn.files import write_atomic

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write README.md anew."""
    readme = ROOT / "README.md"
    write_atomic(readme, render(readme.read_text(), ROOT / "results").encode())


def render(text: str, results: Path) -> str:
    """Return the README's text with its generated parts made from `results`."""
    for name, content in (("experiments", _experiments(results)), ("benchmarks", _bench(results))):
        text = re.sub(
            rf"(<!-- generated: {name} .*?-->\n).*?(<!-- end -->)",
            rf"\g<1>{content}\g<2>",
            text,
            flags=re.S,
        )
    return text


def _experiments(results: Path) -> str:
    lines = ["| experiment | command | tables | figures | cells | seeds | made in |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in experiments.names():
        facts = json.loads((results / "tables" / f"{name}.json").read_text())
        mine = [script for script in figures.find() if script.experiment == name]
        tables = sorted({stem for script in mine for stem in script.tables})
        lines.append(
            f"| `{name}` | `python scripts/run.py -m experiment={name}` | "
            + ", ".join(f"[{stem}](results/tables/{stem}.csv)" for stem in tables)
            + " | "
            + ", ".join(f"[{s.name}](results/figures/{s.name}.png)" for s in mine)
            + f" | {len(facts['cells'])} | {facts['config']['seeds']} | "
            f"{facts['seconds']:.0f} s on {facts['device']} |"
        )
    return "\n".join(lines) + "\n"


def _bench(results: Path) -> str:
    def rows(name: str) -> list[dict[str, str]]:
        with (results / "benchmarks" / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    facts = json.loads((results / "benchmarks" / "cpu_training.json").read_text())
    lines = [
        f"On the CPU ({facts['device']}, NumPy {facts['numpy']}, PyTorch {facts['torch']} eager on "
        f"{facts['threads']} threads; median of interleaved rounds, above 1: faster than PyTorch):",
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
