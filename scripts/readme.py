"""Rewrite the generated parts of README.md from the committed results; no number is typed there."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gpubn import cli, experiments, figures, published, theory
from gpubn.files import write_atomic
from gpubn.plotting import by_seed, config_of, number
from gpubn.stats import mean_interval
from gpubn.tables import read_table

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write README.md anew."""
    readme = ROOT / "README.md"
    write_atomic(readme, render(readme.read_text(), ROOT / "results").encode())


def render(text: str, results: Path) -> str:
    """Return the README's text with its generated parts made from `results`."""
    for name, content in (
        ("findings", _findings(results)),
        ("experiments", _experiments(results)),
        ("benchmarks", _bench(results)),
    ):
        text = re.sub(
            rf"(<!-- generated: {name} .*?-->\n).*?(<!-- end -->)",
            rf"\g<1>{content}\g<2>",
            text,
            flags=re.S,
        )
    return text


def _findings(results: Path) -> str:
    signal = read_table(results / "tables" / "signal_propagation.csv")
    mnist = read_table(results / "tables" / "mnist_init.csv")
    rate = theory.batchnorm_relu_gradient_growth(config_of(signal)["data.examples"])
    plain, before, after = (_growth(signal, norm) for norm in ("none", "before", "after"))
    listed = signal[
        (signal["init"] == "small")
        & (signal["norm"] == "after")
        & (signal["arithmetic"] == "published")
        & (signal["metric"] == "weight_grad_var_published_scale")
    ]
    by_layer = listed.groupby("layer")["value"].mean()
    first, second = published.WEIGHT_GRAD_VAR["after"].values()
    last = by_layer.index.max()
    pinned = _cell(mnist, "rand", "none")
    losses = {k: _cell(mnist, "glorot", k, "train_loss") for k in ("none", "before", "after")}
    return "\n".join(
        (
            "* A: from one layer to the one below the variance of the weight gradients grows by "
            f"{plain} without batchnorm (theory: 1), {before} with it before ReLU, {after} after "
            f"ReLU (theory for either: {rate:.3f}). So without batchnorm gradients are small "
            "everywhere, not in early layers alone, as the document's own numbers show; with it "
            "they grow towards the input.",
            f"* A: the gradients printed as those of the first and second layer (variance {first}, "
            f"{second}) fit the listing's last ones: layer {last} has "
            f"{number(by_layer[last])}, layer {last - 1} {number(by_layer[last - 1])}, layer 1 "
            f"{number(by_layer[1])}.",
            "* D: of four readings of the first initialisation only plain U[0,1) weights "
            f"pin the units at 1 (share saturated {pinned('saturated_share')}) and stay near 2.3 "
            f"(training loss {pinned('train_loss')}); its first loss is "
            f"{_interval(mnist, 'rand', 'none', 'batch_loss', 0)}, where the document saw "
            f"{published.FIRST_LOSS[0]} to {published.FIRST_LOSS[1]}.",
            f"* D: with Glorot weights the final training loss is {losses['none']()} without, "
            f"{losses['before']()} with batchnorm before and {losses['after']()} after tanh "
            f"(published: {published.FINAL_TRAIN_LOSS_BATCHNORM}).",
            "",
            "Means over seeds, 95% bootstrap intervals in brackets.",
            "",
        )
    )


def _growth(signal: pd.DataFrame, norm: str) -> str:
    """Factor a layer towards the input: a line through log variance, one slope a seed."""
    rows = signal[
        (signal["init"] == "small")
        & (signal["norm"] == norm)
        & (signal["arithmetic"] == "corrected")
        & (signal["metric"] == "weight_grad_var")
    ]
    layers, values = by_seed(rows, "layer")
    slopes = np.polyfit(np.asarray(layers, float), np.log(values), 1)[0]
    return _text(*(float(np.exp(-s)) for s in _ordered(slopes)))


def _ordered(slopes: np.ndarray) -> tuple[float, float, float]:
    mean, low, high = mean_interval(slopes)
    return float(mean), float(high), float(low)


def _cell(mnist: pd.DataFrame, init: str, norm: str, metric: str = "") -> Callable[..., str]:
    return lambda name=metric: _interval(mnist, init, norm, name)


def _interval(
    table: pd.DataFrame, init: str, norm: str, metric: str, step: int | None = None
) -> str:
    rows = table[(table["init"] == init) & (table["norm"] == norm) & (table["metric"] == metric)]
    rows = rows[rows["step"] == (rows["step"].max() if step is None else step)]
    return _text(*(float(v) for v in mean_interval(rows["value"].to_numpy(dtype=np.float64))))


def _text(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


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
