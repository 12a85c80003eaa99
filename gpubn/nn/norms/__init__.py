"""Normalisations by kind: one module each, its line in the registry, and what chooses it."""

from collections.abc import Sequence
from importlib import import_module

from gpubn.backend import Backend
from gpubn.config import NormConfig
from gpubn.nn.layers import Layer

KINDS = {
    "batch": "gpubn.nn.norms.batch_norm:BatchNorm",
    "ghost": "gpubn.nn.norms.ghost_batch_norm:GhostBatchNorm",
}


def make_norm(
    norms: Sequence[NormConfig], replicas: int, units: int, backend: Backend, dtype: str
) -> Layer:
    """Return the normalisation of a configuration, one for all replicas or one a replica."""
    module, _, name = norm_definition(norms[0]).partition(":")
    layer: Layer = getattr(import_module(module), name).of(norms, replicas, units, backend, dtype)
    return layer


def norm_definition(norm: NormConfig) -> str:
    """Return where the normalisation of a configuration is defined, "module:name"."""
    return KINDS["ghost" if norm.ghost else "batch"]
