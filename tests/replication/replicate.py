"""Ten verdicts measured a second time, with nothing shared but the data files.

    GPUBN_DATA=folder python tests/replication/replicate.py [--claims B2,D1] [--seeds 20]

Needs torch, numpy and scipy. Prints a table, writes results/replication.csv, and exits with 1 if
a verdict disagrees with results/claims_evidence.csv, with 2 if something needed is missing.
"""

import argparse
import csv
import math
import multiprocessing
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import depth
import document
import dropout
import mnist
import moments
import speed
import torch
import verdict
from verdict import Rule

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = 1000
LOG_RATIO = "log ratio"

MEASURES = {
    "B2": [moments.b2],
    "B8": [speed.b8],
    "B10": [speed.b10],
    "B12": [moments.b12, moments.exact_noise],
    "B13": [dropout.b13],
    "D1": [document.d1],
    "D11": [document.d11],
    "D4": [document.d4],
    "A6": [depth.a6],
    "A10": [depth.a10],
}
WITHOUT_DATA = {"A6", "A10"}

RULES: dict[tuple[str, str], Rule] = {
    ("A6", "ratio"): Rule("ratio", "decades", 1.0),
    ("A10", "by_shapes"): Rule("by_shapes", "standard deviations", 0.05),
    ("A10", "by_names"): Rule("by_names", "standard deviations", 0.05),
    ("B2", "moving"): Rule("moving", LOG_RATIO, math.log(2)),
    ("B2", "settled"): Rule("settled", LOG_RATIO, math.log(2)),
    ("B8", "same_rate"): Rule("same_rate", LOG_RATIO, math.log(1.1)),
    ("B8", "same_rate_after"): Rule("same_rate_after", LOG_RATIO, math.log(1.1)),
    ("B8", "best_relu"): Rule("best_relu", LOG_RATIO, math.log(1.1)),
    ("B8", "best_tanh"): Rule("best_tanh", LOG_RATIO, math.log(1.1)),
    ("B10", "tanh"): Rule("tanh", "decades", 1.0),
    ("B10", "relu"): Rule("relu", "decades", 1.0),
    ("B12", "noise"): Rule("noise", LOG_RATIO, 0.02),
    ("B12", "noise_batch"): Rule("noise_batch", LOG_RATIO, 0.02),
    ("B12", "whole"): Rule("whole", LOG_RATIO, 0.02),
    ("B13", "direct_after"): Rule("direct_after", LOG_RATIO, 0.05),
    ("B13", "direct_before"): Rule("direct_before", LOG_RATIO, 0.05),
    ("B13", "end_before"): Rule("end_before", LOG_RATIO, 0.05),
    ("B13", "last_before"): Rule("last_before", LOG_RATIO, 0.05),
    ("D1", "first_rand"): Rule("first_rand", "nats", published=(3.6, 3.8)),
    ("D1", "end_rand"): Rule("end_rand", "nats", published=(2.25, 2.35)),
    ("D1", "first_listing"): Rule("first_listing", "nats", published=(3.6, 3.8)),
    ("D1", "end_listing"): Rule("end_listing", "nats", published=(2.25, 2.35)),
    ("D1", "first_randn"): Rule("first_randn", "nats", published=(3.6, 3.8)),
    ("D1", "end_randn"): Rule("end_randn", "nats", published=(2.25, 2.35)),
    ("D1", "first_randn_f"): Rule("first_randn_f", "nats", published=(3.6, 3.8)),
    ("D1", "end_randn_f"): Rule("end_randn_f", "nats", published=(2.25, 2.35)),
    ("D4", "listing"): Rule("listing", "share", 0.5),
    ("D4", "rand"): Rule("rand", "share", 0.5),
    ("D11", "after_batch"): Rule("after_batch", "nats", published=(0.205, 0.215)),
    ("D11", "after_test"): Rule("after_test", "nats", published=(0.175, 0.185)),
    ("D11", "before_batch"): Rule("before_batch", "nats", published=(0.205, 0.215)),
    ("D11", "before_test"): Rule("before_test", "nats", published=(0.175, 0.185)),
}

COLUMNS = (
    "id", "quantity", "role", "unit", "n", "mean", "low", "high", "interval", "decision",
    "ours_mean", "ours_low", "ours_high", "ours_decision", "agrees", "means_overlap",
)  # fmt: skip

_data: dict[str, torch.Tensor] = {}


def start_worker(with_data: bool) -> None:
    """Give a worker process one thread and its own copy of the data."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if with_data:
        _data.update(mnist.load())


def measure(claim: str, seed: int) -> dict[str, float]:
    """Return every measurement of one claim at one seed."""
    values: dict[str, float] = {}
    for function in MEASURES[claim]:
        values |= function(seed, _data)
    return values


def measure_all(claims: list[str], seeds: int, workers: int) -> dict[str, dict[str, list[float]]]:
    """Return the values of each measurement of each claim, in the order of the seeds."""
    jobs = [(c, s) for c in claims for s in range(FIRST_SEED, FIRST_SEED + seeds)]
    context = multiprocessing.get_context("spawn")
    setup = (bool(set(claims) - WITHOUT_DATA),)
    done, started = {}, time.monotonic()
    with ProcessPoolExecutor(workers, context, start_worker, setup) as pool:
        futures = {pool.submit(measure, *job): job for job in jobs}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            seconds = time.monotonic() - started
            note = f"\r{len(done)}/{len(jobs)} runs, {seconds:.0f} s, last {futures[future][0]:4}"
            print(note, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    values: dict[str, dict[str, list[float]]] = {c: defaultdict(list) for c in claims}
    for claim, seed in jobs:
        for key, value in done[claim, seed].items():
            values[claim][key].append(value)
    return values


def compared(claim: str, name: str, finding: verdict.Finding, theirs) -> dict[str, object]:
    """Return the row of a quantity that decides, with what the evidence file says of it."""
    row = row_of(claim, name, "primary", RULES[claim, name].unit, finding)
    if theirs is None:
        return row | {"agrees": "missing"}
    return row | {
        "ours_mean": theirs.mean,
        "ours_low": theirs.low,
        "ours_high": theirs.high,
        "ours_decision": theirs.decision,
        "agrees": "yes" if verdict.agree(finding, theirs) else "no",
        "means_overlap": "yes" if verdict.overlap(finding, theirs) else "no",
    }


def row_of(claim, name, role, unit, finding) -> dict[str, object]:
    """Return the row of a quantity by itself."""
    return {"id": claim, "quantity": name, "role": role, "unit": unit} | vars(finding)


def table_rows(values, evidence) -> list[dict[str, object]]:
    """Return the rows of all quantities: those that decide, then those only reported."""
    rows, used = [], set()
    for (claim, name), rule in RULES.items():
        if claim in values:
            finding = verdict.judge(values[claim][rule.key], rule)
            rows.append(compared(claim, name, finding, evidence.get((claim, name))))
            used.add((claim, rule.key))
    for claim, measured in values.items():
        for key, numbers in measured.items():
            if (claim, key) not in used:
                rows.append(row_of(claim, key, "report", "", verdict.describe(numbers)))
    return rows


def show(rows) -> None:
    """Print the rows as a table."""
    print(f"{'id':4} {'quantity':28} {'n':>3} {'mean [95% interval]':34} {'decision':12} "
          f"{'ours':34} {'decision':12} agrees")  # fmt: skip
    for row in rows:
        mine = f"{row['mean']:9.4g} [{row['low']:.4g}, {row['high']:.4g}]"
        ours = ""
        if "ours_mean" in row:
            ours = f"{row['ours_mean']:9.4g} [{row['ours_low']:.4g}, {row['ours_high']:.4g}]"
        print(f"{row['id']:4} {row['quantity']:28} {row['n']:3} {mine:34} {row['decision']:12} "
              f"{ours:34} {row.get('ours_decision', ''):12} {row.get('agrees', '')}")  # fmt: skip


def write(rows, path: Path) -> None:
    """Write the rows as CSV; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    partial.replace(path)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Ten verdicts measured a second time.")
    parser.add_argument("--claims", default=",".join(MEASURES), help="ids, with commas between")
    parser.add_argument("--seeds", type=int, default=20, help="seeds a claim, from 1000 on")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "replication.csv")
    parser.add_argument(
        "--evidence", type=Path, default=ROOT / "results" / "claims_evidence.csv",
        help="the file to compare with",
    )  # fmt: skip
    options = parser.parse_args(argv)
    options.claims = [claim.strip() for claim in options.claims.split(",") if claim.strip()]
    unknown = set(options.claims) - set(MEASURES)
    if unknown:
        parser.error(f"no such claim: {', '.join(sorted(unknown))} (of {', '.join(MEASURES)})")
    if options.seeds < 2:
        parser.error("an interval needs at least two seeds")
    return options


def main(argv: list[str] | None = None) -> int:
    """Return 0 if every verdict agrees, 1 if one disagrees, 2 if something is missing."""
    options = parse(argv)
    if set(options.claims) - WITHOUT_DATA:
        try:
            mnist.find_files()
        except mnist.MissingDataError as error:
            print(error, file=sys.stderr)
            return 2
    values = measure_all(options.claims, options.seeds, options.workers)
    evidence, problems = verdict.read_evidence(options.evidence)
    rows = table_rows(values, evidence)
    show(rows)
    write(rows, options.out)
    absent = [f"{r['id']} {r['quantity']}" for r in rows if r.get("agrees") == "missing"]
    if absent:
        problems.append(f"no primary row to compare with for {', '.join(absent)}")
    for problem in problems:
        print(f"Problem: {problem}.", file=sys.stderr)
    apart = [f"{r['id']} {r['quantity']}" for r in rows if r.get("agrees") == "no"]
    if apart:
        print(f"Disagree: {', '.join(apart)}.")
        return 1
    return 2 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
