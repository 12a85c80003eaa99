"""Datasets: MNIST, and the small digits that need no download."""

from gpubn.data.dataset import Dataset
from gpubn.data.registry import definition, load, names

__all__ = ["Dataset", "definition", "load", "names"]
