"""Datasets: MNIST, and the small digits that need no download."""

from gpubn.data.catalog import NAMES, load
from gpubn.data.dataset import Dataset
from gpubn.data.digits import load_digits
from gpubn.data.mnist import load_mnist

__all__ = ["NAMES", "Dataset", "load", "load_digits", "load_mnist"]
