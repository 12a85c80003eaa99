"""Every kernel that can be asked for, for those who compile them all."""

from itertools import product

from gpubn.backend import Kernel
from gpubn.kernels.cuda import source, train_shallow
from gpubn.kernels.cuda.batch_norm_launch import CLUSTER_ARCH, CLUSTERS

_FLOATS = ("float32", "float64")
_STORED = ("float16", "bfloat16", *_FLOATS)
_DIRECTIONS = ("forward", "backward")
# Name of a source -> its kernels, each with the dtypes it takes and whether it moves packs of them.
_KERNELS: dict[str, dict[str, tuple[tuple[str, ...], bool]]] = {
    "activation": {f"activation_{direction}": (_FLOATS, True) for direction in _DIRECTIONS},
    "affine": {
        f"affine_{name}": (_FLOATS, False) for name in ("add_bias", "bias_gradient", "descend_bias")
    },
    **{
        f"batch_norm_{direction}": {
            f"batch_norm_{direction}_{form}": (_STORED, True)
            for form in ("slab", "tiled", "cluster")
        }
        for direction in _DIRECTIONS
    },
    "batch_norm_inference": {"batch_norm_inference": (_STORED, True)},
    "classifier": {"classifier_descend": (_FLOATS, False)},
    "dropout": {f"dropout_{name}": (_FLOATS, True) for name in ("drawn", "masked")},
    "sgd": {f"sgd_{name}": (_FLOATS, False) for name in ("descend", "descend_averaged")},
    "softmax_cross_entropy": {"softmax_cross_entropy_forward": (_FLOATS, False)},
    "step": {
        "step_begin": (_FLOATS, True),
        "step_next": (_FLOATS, True),
        "step_end": (_FLOATS, False),
    },
    "train_shallow": {"train_shallow_cluster": (("float32",), False)},
}


def stems() -> list[str]:
    """The names of all sources."""
    return sorted(_KERNELS)


def instantiations(stem: str, arch: int) -> list[Kernel]:
    """Every kernel of a source that a device of this compute capability can be asked for."""
    clusters = CLUSTERS if arch >= CLUSTER_ARCH else ()
    if stem == "train_shallow":
        return [train_shallow.kernel(units) for units in train_shallow.UNITS if clusters]
    return [
        source.kernel(stem, name, dtype, *pack, *cluster)
        for name, (dtypes, packed) in _KERNELS[stem].items()
        for dtype in dtypes
        for pack, cluster in product(
            [(source.PACKS[dtype],), (1,)] if packed else [()],
            [(c,) for c in clusters] if name.endswith("_cluster") else [()],
        )
    ]
