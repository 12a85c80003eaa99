"""Datasets: MNIST, Fashion-MNIST, and the small digits that need no download."""

from gpubn.data.dataset import Dataset
from gpubn.data.inputs import transformed
from gpubn.data.registry import dataset_definition, dataset_names, load

__all__ = ["Dataset", "dataset_definition", "dataset_names", "load", "transformed"]
