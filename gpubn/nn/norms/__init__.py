"""Normalisations by kind: one module each, its line in the registry, and what chooses it."""

from collections.abc import Sequence
from importlib import import_module

from gpubn import extensions
from gpubn.config import NormConfig
from gpubn.errors import ConfigError, ExtensionError
from gpubn.nn.norms.base import Norm, Site

KINDS = {
    "batch": "gpubn.nn.norms.batch_norm:BatchNorm",
    "ghost": "gpubn.nn.norms.ghost_batch_norm:GhostBatchNorm",
    "noisy": "gpubn.nn.norms.noisy_batch_norm:NoisyBatchNorm",
    "mean_only": "gpubn.nn.norms.mean_only_batch_norm:MeanOnlyBatchNorm",
    "variance_only": "gpubn.nn.norms.variance_only_batch_norm:VarianceOnlyBatchNorm",
    "layer": "gpubn.nn.norms.layer_norm:LayerNorm",
    "rms": "gpubn.nn.norms.rms_norm:RMSNorm",
}


def kinds() -> dict[str, str]:
    """Return where each kind is defined, "module:name": ours, and those that `NORMS` declares.

    Raises:
        ExtensionError: one of an extension has the name of another, or is no `Norm`.

    >>> kinds()["rms"]
    'gpubn.nn.norms.rms_norm:RMSNorm'
    """
    more = extensions.declared("NORMS")
    for kind, one in more.items():
        if kind in KINDS:
            raise extensions.exists("norm", kind, getattr(one, "__module__", one))
        if not (isinstance(one, type) and issubclass(one, Norm)):
            raise ExtensionError(f"NORMS has {kind!r}: {one!r}; expected a subclass of Norm")
    return KINDS | {kind: f"{one.__module__}:{one.__name__}" for kind, one in more.items()}


def norm_definition(norm: NormConfig) -> str:
    """Return where the normalisation of a configuration is defined, "module:name".

    Raises:
        ConfigError: there is no such kind.

    >>> norm_definition(NormConfig(kind="layer"))
    'gpubn.nn.norms.layer_norm:LayerNorm'
    """
    if norm.kind not in (known := kinds()):
        raise ConfigError(f"norm.kind is {norm.kind!r}; expected one of {', '.join(known)}")
    return known[norm.kind]


def norm_kind(norm: NormConfig) -> type[Norm]:
    """Return the class of a configuration's normalisation.

    Raises:
        ConfigError: there is no such kind.

    >>> norm_kind(NormConfig()).__name__
    'BatchNorm'
    """
    module, _, name = norm_definition(norm).partition(":")
    kind: type[Norm] = getattr(import_module(module), name)
    return kind


def check_norm(norm: NormConfig, examples: int, key: str = "optim.batch") -> None:
    """Refuse a configuration that its kind cannot take.

    Args:
        examples: those of a training pass; `key` says how many there are.

    Raises:
        ConfigError: it cannot, or there is no such kind.

    >>> check_norm(NormConfig(placement="before", ghost=4), examples=32)
    Traceback (most recent call last):
    gpubn.errors.ConfigError: norm.ghost is 4; expected 0, as norm.kind=batch has no groups
    """
    kind = norm_kind(norm)
    if norm.placement != "none":
        kind.check(norm, examples, key)


def make_norm(norms: Sequence[NormConfig], site: Site) -> Norm:
    """Return the normalisation of a configuration, one for all replicas or one a replica.

    Raises:
        ConfigError: there is no such kind.

    >>> from gpubn.backend import resolve
    >>> norm = make_norm([NormConfig()], Site([0, 1], 3, 1, resolve("numpy"), "float64"))
    >>> norm.params["gamma"].shape, norm.running["mean"].shape
    ((2, 3), (2, 3))
    """
    return norm_kind(norms[0])(norms, site)
