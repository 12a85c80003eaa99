"""Small networks, by the options of their configuration."""

from dataclasses import fields

from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.nn.model import build_mlp
from gpubn.nn.norms.batch_norm import BatchNorm

FEATURES, WIDTH, CLASSES = 4, 5, 3
PLACEMENTS = ["none", "before", "after"]
OF_MODEL = {field.name for field in fields(ModelConfig)}


def build(backend, *, placement="none", seeds=(0, 1), init=None, dtype="float64", **options):
    """A network; what is no option of the model is one of the norm, but for the sizes of data."""
    sizes = {"features": FEATURES, "classes": CLASSES}
    sizes |= {name: options.pop(name) for name in sizes if name in options}
    model = {"depth": 2, "width": WIDTH}
    model |= {name: options.pop(name) for name in OF_MODEL if name in options}
    norm = NormConfig(placement, placement, **options)
    return build_mlp(
        *(ModelConfig(**model), norm, init or InitConfig()),
        **sizes,
        seeds=seeds,
        backend=backend,
        dtype=dtype,
    )


def state(model):
    """Every parameter and running statistic, in order."""
    for layer in model.layers:
        yield from layer.params.values()
        if isinstance(layer, BatchNorm):
            yield from (layer.running_mean, layer.running_var)


def shake(layers, backend, rng):
    """Move every parameter off its special value: biases and beta from 0, gamma from 1."""
    for layer in layers:
        for array in layer.params.values():
            array += backend.asarray(rng.uniform(-0.5, 0.5, array.shape).astype(str(array.dtype)))
