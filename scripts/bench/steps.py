"""Time what batchnorm costs on the CPU: a training step, its two backward passes, inference.

Writes `results/benchmarks/step_cost.csv` with a JSON file that says where it was made. Needs
neither PyTorch nor MNIST. A benchmark, not a test: nothing fails when it is slow.
"""

import argparse
import logging
from pathlib import Path

from bench.step_cost import write_step_cost
from gpubn.errors import ArgumentError
from gpubn.sweeps import cli

log = logging.getLogger("gpubn")


def main() -> None:
    """Time and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--rounds", type=int, default=9, help="rounds, one value each")
    options = parser.parse_args()
    if options.rounds < 1:
        raise ArgumentError(f"--rounds is {options.rounds}; expected at least 1")
    log.info("%s", write_step_cost(options.results / "benchmarks", rounds=options.rounds))


if __name__ == "__main__":
    cli.log_to_stderr()
    cli.main(main)
