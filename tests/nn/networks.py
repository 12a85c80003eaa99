"""Small networks, by the options of their configuration."""

from dataclasses import fields

import numpy as np

from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.nn.init import initial_weight
from gpubn.nn.model import build_mlp
from gpubn.nn.norms.base import Norm
from gpubn.nn.optim import SGD, constant_rate
from gpubn.nn.train import loss_and_accuracy, to_device, train

FEATURES, WIDTH, CLASSES = 4, 5, 3
PLACEMENTS = ["none", "before", "after"]
OF_MODEL = {field.name for field in fields(ModelConfig)}


def build(backend, *, placement="none", seeds=(0, 1), init=None, dtype="float64", **options):
    """A network; what is no option of the model is one of the norm, but for the sizes of data."""
    sizes = {"features": FEATURES, "classes": CLASSES}
    sizes |= {name: options.pop(name) for name in sizes if name in options}
    model = {"depth": 2, "width": WIDTH}
    model |= {name: options.pop(name) for name in OF_MODEL if name in options}
    norm = norm_config(placement, **options)
    return build_mlp(
        *(ModelConfig(**model), norm, init or InitConfig()),
        **sizes,
        seeds=seeds,
        backend=backend,
        dtype=dtype,
    )


def norm_config(placement, **options):
    """A normalisation, of groups where there are any."""
    kind = "ghost" if options.get("ghost") else "batch"
    return NormConfig(placement, placement, **{"kind": kind} | options)


def draw_weight(kind, fan_in, fan_out, seeds, layer, **options):
    """Weights (R, fan_in, fan_out), float64, as a network of this configuration gets them."""
    return initial_weight(InitConfig(kind=kind, **options), fan_in, fan_out, seeds, layer)


def state(model):
    """Every parameter and running statistic, in order."""
    for layer in model.layers:
        yield from layer.params.values()
        if isinstance(layer, Norm):
            yield from layer.running.values()


def shake(layers, backend, rng):
    """Move every parameter off its special value: biases and beta from 0, gamma from 1."""
    for layer in layers:
        for array in layer.params.values():
            array += backend.asarray(rng.uniform(-0.5, 0.5, array.shape).astype(str(array.dtype)))


class Run:
    """A network, trained by `train` with what is given to it."""

    WIDTH, BATCH = 16, 32

    def __init__(
        self,
        dataset,
        backend,
        seeds,
        *,
        rate=0.5,
        schedule=constant_rate,
        dtype="float32",
        sgd_momentum=0.0,
        **model,
    ):
        self.backend, self.seeds, self.data = backend, seeds, to_device(dataset, backend, dtype)
        sizes = {"features": dataset.features, "classes": dataset.classes, "width": self.WIDTH}
        options = {"seeds": seeds, "dtype": dtype, "depth": 1}
        self.model = build(backend, **options | sizes | model)
        self.sgd = SGD(rate, schedule, 0.0, backend, dtype, sgd_momentum)

    def train(self, steps=20, batch=BATCH, **options):
        """The losses."""
        return train(
            *(self.model, self.sgd, self.data, self.backend),
            **{"seeds": self.seeds, "steps": steps, "batch": batch} | options,
        )

    def evaluate(self):
        """Loss and accuracy on the test set."""
        x, y = self.data.x_test, self.data.y_test
        chosen = np.stack([np.arange(len(x))] * len(self.seeds))
        return loss_and_accuracy(self.model, x, y, chosen, self.backend)
