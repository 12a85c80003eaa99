"""Normalisations by kind: one module each, its line in the registry, and what chooses it."""

from collections.abc import Sequence
from importlib import import_module

from gpubn import extensions
from gpubn.backend import Backend
from gpubn.config import NormConfig
from gpubn.nn.layers import Layer

KINDS = {
    "batch": "gpubn.nn.norms.batch_norm:BatchNorm",
    "ghost": "gpubn.nn.norms.ghost_batch_norm:GhostBatchNorm",
}


def kinds() -> dict[str, str]:
    """Return where each kind is defined, "module:name": ours, and those that `NORMS` declares.

    Raises:
        ExtensionError: one of an extension has the name of another.
    """
    more = extensions.declared("NORMS")
    if taken := [kind for kind in more if kind in KINDS]:
        raise extensions.exists("norm", taken[0], more[taken[0]].__module__)
    return KINDS | {kind: f"{one.__module__}:{one.__name__}" for kind, one in more.items()}


def make_norm(
    norms: Sequence[NormConfig], replicas: int, units: int, backend: Backend, dtype: str
) -> Layer:
    """Return the normalisation of a configuration, one for all replicas or one a replica."""
    module, _, name = norm_definition(norms[0]).partition(":")
    layer: Layer = getattr(import_module(module), name).of(norms, replicas, units, backend, dtype)
    return layer


def norm_definition(norm: NormConfig) -> str:
    """Return where the normalisation of a configuration is defined, "module:name"."""
    return kinds()["ghost" if norm.ghost else "batch"]
