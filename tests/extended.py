"""An extension in small: an experiment, a dataset, a kind of norm, a figure and a claim."""

MODULE = """
from gpubn.experiments.catalogue import BESSEL
from gpubn.experiments.training.trainer import training_experiment
from gpubn.nn.norms.batch_norm import BatchNorm

from .sizes import twice

OWN = training_experiment("own", {"norm": "norm.name", "rate": "optim.rate"}, evaluated=twice(50))


class Renamed(BatchNorm):
    pass


NORMS = {"renamed": Renamed}
"""
DATASET = """
import numpy as np

from gpubn.data import Dataset


def locate(root=None):
    return None


def load(folder=None):
    return assemble(np.random.Generator(np.random.Philox(7)))


def assemble(generator):
    y = np.arange(90, dtype=np.int64) % 2
    x = np.clip(0.3 + 0.4 * y[:, None] + 0.1 * generator.standard_normal((90, 3)), 0, 1)
    x = x.astype(np.float32)
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], 2)
"""
EXPERIMENT = """
# @package _global_
defaults:
  - override /data: blobs
name: own
seeds: 3
every: 5
model: {width: 4}
optim: {steps: 10, batch: 10}
hydra: {sweeper: {params: {norm: "none,before", optim.rate: "0.1,0.3"}}}
"""
FIGURE = """\"\"\"Losses of one's own.

{dataset}.
\"\"\"

from gpubn.report.figures.sheets import figure


@figure(__doc__, tables=("own",), claims=("E1",), size=(4, 3))
def draw(sheet):
    sheet.axes.flat[0].plot(sheet.table["value"])
"""
LEDGER = """
document: E
title: Ours
claims:
- id: E1
  claim: Losses are positive.
  kind: effect
  matters: {value: 0.001, basis: margin, why: little}
  predicted: reproduced
  reason: they are
  source: a book
  threat: none
  excluded: none
  measures: {x: {table: own, metric: batch_loss, where: {norm: none, rate: 0.1}, step: last}}
  quantities: {loss: {value: x, unit: nats}}
  cases: [{quantity: loss}]
"""
FILES = {
    "more.py": MODULE,
    "sizes.py": "def twice(n):\n    return 2 * n\n",
    "sets/blobs.py": DATASET,
    "conf/data/blobs.yaml": "name: blobs\n",
    "conf/experiment/own.yaml": EXPERIMENT,
    "figures/own_losses.py": FIGURE,
    "ledger/E.yaml": LEDGER,
}


def write_extension(folder, files=FILES):
    """Write the files below a folder, and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
