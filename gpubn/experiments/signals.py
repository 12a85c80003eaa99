"""One network at initialisation, propagated at once: for notebooks, where a grid is too much."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig
from gpubn.errors import ArgumentError, require
from gpubn.experiments.base import Context
from gpubn.experiments.deep.network import check_true_norm
from gpubn.experiments.deep.signal_grid import FIRST_LAYER, propagate
from gpubn.files import shipped
from gpubn.rows import Observation, per_seed


@dataclass(frozen=True)
class Signal:
    """Variances by seed (R of them) and layer (L of them, and the input as layer 0), float64.

    Attributes:
        activation_var: of a layer's output over examples and units, (R, L + 1).
        signal_var: of the gradient with respect to a layer's output, (R, L + 1); at layer L that
            is the upstream gradient, standard normal.
        weight_grad_var: of the gradient with respect to a layer's weights, (R, L): layers 1 ... L.
    """

    activation_var: np.ndarray
    signal_var: np.ndarray
    weight_grad_var: np.ndarray

    def rows(self) -> list[Observation]:
        """Return one row a number: seed, step (None), layer, metric, value.

        `pandas.DataFrame(signal().rows())` is a table as `results/tables` has them.
        """
        return [
            row
            for metric, first in FIRST_LAYER.items()
            for layer, values in enumerate(getattr(self, metric).T, start=first)
            for row in per_seed(range(len(values)), metric, values, layer=layer)
        ]


def signal(
    depth: int = 20,
    init: str | InitConfig = "small",
    norm: str | NormConfig = "none",
    activation: str = "relu",
    *,
    width: int = 100,
    batch: int = 1000,
    seeds: int = 5,
    backend: str = "numpy",
) -> Signal:
    """Return how activations and gradients spread in a deep network at initialisation.

    The network has `depth` layers of `width` units without biases, gamma and beta, in float64; the
    input is `batch` standard normal examples of `width` features, and so is the gradient that
    enters at the top. With the defaults it is document A's.

    >>> variance = signal(depth=3, seeds=2).activation_var
    >>> variance.shape
    (2, 4)
    >>> [f"{of_layer:.0e}" for of_layer in variance[0]]
    ['1e+00', '3e-03', '1e-05', '7e-08']
    >>> [f"{of_layer:.2f}" for of_layer in signal(depth=3, norm="after").activation_var[0]]
    ['1.00', '1.00', '1.00', '1.00']

    Args:
        depth: number of layers, L.
        init: a file of `conf/init` by its name, such as small, glorot or he, or a configuration.
        norm: a file of `conf/norm` by its name, such as none, before, after, layer or rms, or a
            configuration.
        activation: relu, tanh, sigmoid or linear.
        width: number of units of every layer, and of features.
        batch: number of examples, over which batch norm takes its statistics.
        seeds: number of networks, R, drawn from the seeds 0 ... R - 1.
        backend: auto, numpy, numba or cupy.

    Raises:
        ArgumentError: a number is no integer or too small, or there is no such file.
        ConfigError: there is no such activation, or the normalisation cannot take the batch.
        BackendError: the backend does not work on this machine.
    """
    for name, number, least in (
        *(("depth", depth, 1), ("width", width, 1), ("seeds", seeds, 1)),
        ("batch", batch, 2),
    ):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ArgumentError(f"{name} is {number!r}; expected an integer of at least {least}")
    config = Config(
        name="signal_grid",
        data=DataConfig(name="gaussian", examples=batch, features=width),
        model=ModelConfig(depth=depth, width=width, activation=activation),
        norm=norm if isinstance(norm, NormConfig) else NormConfig(**_preset("norm", norm)),
        init=init if isinstance(init, InitConfig) else InitConfig(**_preset("init", init)),
        dtype="float64",
        seeds=seeds,
    )
    check_true_norm(config)
    chosen = resolve(backend)
    with chosen.kernels():
        found = propagate(config, Context(chosen)).variances
    return Signal(**{metric: by_layer.T for metric, by_layer in found.items()})


def _preset(group: str, name: str) -> dict[str, Any]:
    """Return what a file of `conf` sets; one that sets more than its group is none."""
    require("a signal by names of conf", "experiments", ("yaml",))
    import yaml

    files: list[Path] = sorted((shipped("conf") / group).glob("*.yaml"))
    known = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in files}
    known = {stem: values for stem, values in known.items() if "name" in values}
    if name not in tuple(known):  # which may be no text
        raise ArgumentError(f"{group} is {name!r}; expected one of {', '.join(known)}")
    preset: dict[str, Any] = known[name]
    return preset
