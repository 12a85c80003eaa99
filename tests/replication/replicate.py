"""Verdicts measured a second time, with nothing shared but the data files.

    GPUBN_DATA=folder python tests/replication/replicate.py [--claims B2,D1] [--seeds 20]

Needs torch, numpy and scipy. Writes results/replication.csv, and exits with 1 if a verdict
disagrees with results/claims_evidence.csv, with 2 if something needed is missing.
"""

import argparse
import csv
import math
import multiprocessing
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import data
import document
import normalization
import torch
import verdict
from verdict import Rule

RESULTS = Path(__file__).resolve().parents[2] / "results"
FIRST_SEED = 1000


def effect(matters: float, *names: str) -> dict[str, Rule]:
    """Return the rule that the quantities are above matters."""
    return dict.fromkeys(names, Rule("effect", matters))


def first_reading(name: str) -> Rule:
    """Return the rule that one run under a reading could print D1's values."""
    first, plateaus = (math.log(3.6), math.log(3.8)), (0.5, 60.0)
    printed = {f"end_{name}": (2.25, 2.35), f"log_first_{name}": first}
    return Rule("published", 0.1, printed | {f"plateaus_{name}": plateaus})


LAST_LOSSES = {"after_batch": (0.205, 0.215), "after_test": (0.175, 0.185)}
WITHOUT_DATA = {"A6", "A10"}
CLAIMS = {
    "B2": (normalization.b2, effect(math.log(2), "moving", "settled")),
    "B8": (
        normalization.b8,
        effect(math.log(1.1), "same_rate", "same_rate_after", "best_tanh", "best_relu"),
    ),
    "B10": (normalization.b10, effect(1.0, "tanh", "tanh_behind", "relu", "relu_behind")),
    "B12": (normalization.b12, effect(0.02, "noise", "noise_batch")),
    "B13": (normalization.b13, effect(0.05, *normalization.CASES)),
    "B28": (normalization.b28, effect(0.02, "whole", "whole_512")),
    "D1": (document.d1, {f"end_{name}": first_reading(name) for name in document.READINGS}),
    "D11": (document.d11, {"after_batch": Rule("published", 0.07, LAST_LOSSES)}),
    "D4": (document.d4, effect(0.5, "listing_eye", "listing", "rand", "randn")),
    "A6": (document.a6, effect(1.0, "ratio")),
    "A10": (document.a10, dict.fromkeys(("by_shapes", "by_names"), Rule("equal", 0.05))),
}
FOUND = ("n", "mean", "low", "high", "decision")
COLUMNS = ("id", "quantity", "role", *FOUND, *(f"ours_{name}" for name in FOUND), "agrees")

_data: dict[str, torch.Tensor] = {}


def start_worker(with_data: bool) -> None:
    """Give a worker process one thread and its own copy of the data."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if with_data:
        _data.update(data.load())


def measure(claim: str, seed: int) -> dict[str, float]:
    return CLAIMS[claim][0](seed, _data)


def measure_all(claims: list[str], seeds: int, workers: int) -> dict[str, dict[str, list[float]]]:
    """Return the values of each measurement of each claim, in the order of the seeds."""
    jobs = list(product(claims, range(FIRST_SEED, FIRST_SEED + seeds)))
    setup = (bool(set(claims) - WITHOUT_DATA),)
    values: dict[str, dict[str, list[float]]] = {claim: defaultdict(list) for claim in claims}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, start_worker, setup) as pool:
        measured = pool.map(measure, *zip(*jobs, strict=True))
        for done, ((claim, _), found) in enumerate(zip(jobs, measured, strict=True), 1):
            print(f"\r{done}/{len(jobs)} runs", end="", file=sys.stderr, flush=True)
            for key, value in found.items():
                values[claim][key].append(value)
    print(file=sys.stderr)
    return values


def table_rows(values, evidence) -> list[dict[str, object]]:
    """Return a row for each quantity: first those that decide, then those only reported."""
    primary, report = [], []
    for claim, measured in values.items():
        rules = CLAIMS[claim][1]
        for name, rule in rules.items():
            mine, theirs = verdict.describe(measured[name]), evidence.get((claim, name))
            mine.decision = verdict.decide(name, measured, rule)
            row = {"id": claim, "quantity": name, "role": "primary"} | vars(mine)
            row["agrees"] = "missing"
            if theirs:
                row |= {f"ours_{key}": value for key, value in vars(theirs).items()}
                row["agrees"] = "yes" if verdict.agree(mine, theirs) else "no"
            primary.append(row)
        for name, numbers in measured.items():
            if name not in rules:
                row = {"id": claim, "quantity": name, "role": "report"}
                report.append(row | vars(verdict.describe(numbers)))
    return primary + report


def write(rows, path: Path) -> None:
    """Write the rows as CSV; the file appears whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    partial.replace(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", default=",".join(CLAIMS), help="ids, with commas between")
    parser.add_argument("--seeds", type=int, default=20, help="seeds a claim, from 1000 on")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    options = parser.parse_args()
    options.claims = options.claims.split(",")
    if unknown := set(options.claims) - set(CLAIMS):
        parser.error(f"no such claim: {', '.join(sorted(unknown))} (of {', '.join(CLAIMS)})")
    if options.seeds < 2:
        parser.error("an interval needs at least two seeds")
    return options


def main() -> int:
    """Return 0 if every verdict agrees, 1 if one disagrees, 2 if something is missing."""
    options = parse()
    try:
        if set(options.claims) - WITHOUT_DATA:
            data.find_files()
        evidence = verdict.read_evidence(RESULTS / "claims_evidence.csv")
    except (data.MissingError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    rows = table_rows(measure_all(options.claims, options.seeds, options.workers), evidence)
    write(rows, RESULTS / "replication.csv")
    agrees = [row.get("agrees") for row in rows]
    for row in rows:
        if "agrees" in row:
            print(*(row.get(name) for name in ("id", "quantity", "decision", "agrees")))
    return 1 if "no" in agrees else 2 if "missing" in agrees else 0


if __name__ == "__main__":
    sys.exit(main())
