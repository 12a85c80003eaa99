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
from dataclasses import replace
from pathlib import Path

import depth
import document
import dropout
import mnist
import moments
import speed
import torch
import verdict
from verdict import Finding, Rule

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = 1000


def effect(matters: float, *names: str) -> dict[str, Rule]:
    """Return the rule that the quantities are above matters."""
    return dict.fromkeys(names, Rule("effect", matters))


def first_reading(name: str) -> Rule:
    """Return the rule that one run under a reading could print D1's values."""
    printed = {f"end_{name}": (2.25, 2.35), f"log_first_{name}": (math.log(3.6), math.log(3.8)),
               f"plateaus_{name}": (0.5, 60.0)}  # fmt: skip
    return Rule("published", 0.1, printed)


def last_losses(place: str) -> Rule:
    """Return the rule that one run with batch normalization there could print D11's values."""
    printed = {f"{place}_batch": (0.205, 0.215), f"{place}_test": (0.175, 0.185)}
    return Rule("published", 0.07, printed)


MEASURES = {
    "B2": moments.b2,
    "B8": speed.b8,
    "B10": speed.b10,
    "B12": moments.b12,
    "B13": dropout.b13,
    "D1": document.d1,
    "D11": document.d11,
    "D4": document.d4,
    "A6": depth.a6,
    "A10": depth.a10,
}
WITHOUT_DATA = {"A6", "A10"}
RULES = {
    "A6": effect(1.0, "ratio"),
    "A10": dict.fromkeys(("by_shapes", "by_names"), Rule("equal", 0.05)),
    "B2": effect(math.log(2), "moving", "settled"),
    "B8": effect(math.log(1.1), "same_rate", "same_rate_after", "best_tanh", "best_relu"),
    "B10": effect(1.0, "tanh", "tanh_behind", "relu", "relu_behind"),
    "B12": effect(0.02, "noise", "noise_batch", "whole"),
    "B13": effect(0.05, *dropout.CASES),
    "D1": {f"end_{name}": first_reading(name) for name in document.READINGS},
    "D4": effect(0.5, "listing_eye", "listing", "rand", "randn"),
    "D11": {"after_batch": last_losses("after")},
}

COLUMNS = (
    "id", "quantity", "role", "n", "mean", "low", "high", "decision",
    "ours_n", "ours_mean", "ours_low", "ours_high", "ours_decision", "agrees",
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
    return MEASURES[claim](seed, _data)


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


def table_rows(values, evidence) -> list[dict[str, object]]:
    """Return a row for each quantity: first those that decide, then those only reported."""
    rows = []
    for claim, measured in values.items():
        for name, rule in RULES[claim].items():
            decision = verdict.decide(name, measured, rule)
            mine = replace(verdict.describe(measured[name]), decision=decision)
            row = {"id": claim, "quantity": name, "role": "primary"} | vars(mine)
            theirs: Finding | None = evidence.get((claim, name))
            if theirs:
                row |= {f"ours_{key}": value for key, value in vars(theirs).items()}
                row["agrees"] = "yes" if verdict.agree(mine, theirs) else "no"
            rows.append(row | {"agrees": row.get("agrees", "missing")})
    for claim, measured in values.items():
        for name, numbers in measured.items():
            if name not in RULES[claim]:
                row = {"id": claim, "quantity": name, "role": "report"}
                rows.append(row | vars(verdict.describe(numbers)))
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
    evidence, problem = verdict.read_evidence(options.evidence)
    if problem:
        print(f"Nothing to compare with: {problem}.", file=sys.stderr)
    rows = table_rows(values, evidence)
    show(rows)
    write(rows, options.out)
    named = {word: [f"{r['id']} {r['quantity']}" for r in rows if r.get("agrees") == word]
             for word in ("no", "missing")}  # fmt: skip
    print(f"Disagree: {', '.join(named['no']) or 'none'}.")
    print(f"Not in the file: {', '.join(named['missing']) or 'none'}.")
    return 1 if named["no"] else 2 if named["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
