"""The code that made a number: a hash of the definitions that it depends on, wherever they stand.

A definition is a function, a class or a constant of a module. Its hash takes in what it refers to,
not under which name or in which file; comments, docstrings, imports, names of local variables, log
lines and the sentences of errors count for nothing. What code does to a name of another module
counts where that module is imported; a function that a decorator enters in a table does not.
"""

import re
from functools import cache
from pathlib import Path

from gpubn.files import sha256
from gpubn.fingerprint import modules
from gpubn.fingerprint.modules import Definition, defined, module_of
from gpubn.fingerprint.shapes import Shape, shape

_CANNOT_CHANGE_A_NUMBER = (
    "gpubn.errors",
    "gpubn.rows",
    "gpubn.config",
    "gpubn.extensions",
    "gpubn.data.registry",
    "gpubn.nn.norms",
    "gpubn.experiments.base",
)
"""A cell is identified by its configuration, and what these hold besides moves or names things."""
_ONLY_ON = {
    "cupy": ("gpubn.kernels.cuda", "gpubn.backend.cupy_device"),
    "numba": ("gpubn.kernels.cpu", "gpubn.backend.cpu_device", "gpubn.backend.host_memory"),
}
"""Modules that run on one backend alone."""
_BACKEND = "gpubn.backend:Backend"


@cache
def fingerprint(definitions: tuple[str, ...], backend: str = "numpy") -> str:
    """Return a short hash of what can change the numbers of some definitions.

    Args:
        definitions: "module:name" each, e.g. "gpubn.experiments.catalogue:BESSEL".
        backend: where they are measured: the code that runs on others alone is left out. "any"
            leaves nothing out.
    """
    left_out = [m for name, of in _ONLY_ON.items() if backend not in (name, "any") for m in of]
    on_gpu = backend in ("cupy", "any")
    sources = sorted(map(_cuda, modules.PACKAGE.rglob("*.cu*"))) if on_gpu else []
    roots = [root for name in (*definitions, _BACKEND) for root in defined(*name.split(":"))]
    return _hash(roots, tuple(left_out), sources)


def script_fingerprint(path: Path, *others: str) -> str:
    """Return a short hash of a script, and of all in the package that it and `others` refer to.

    Args:
        others: "module:name" each, that make what the script makes.
    """
    own = [Definition(str(path), name) for name in module_of(str(path)).definitions]
    return _hash([*own, *(root for name in others for root in defined(*name.split(":")))], (), [])


def _hash(roots: list[Definition], left_out: tuple[str, ...], sources: list[str]) -> str:
    def counts(definition: Definition) -> bool:
        if definition.module in _CANNOT_CHANGE_A_NUMBER:
            return False
        return not any(f"{definition.module}.".startswith(f"{prefix}.") for prefix in left_out)

    shapes: dict[Definition, Shape] = {}
    waiting = list(roots)
    while waiting:
        definition = waiting.pop()
        if definition not in shapes and counts(definition):
            shapes[definition] = shape(definition)
            waiting += shapes[definition].references + shapes[definition].effects
    # Definitions may refer to each other in circles, so each hash is refined by those it refers to
    # until no two definitions are told apart that were not before.
    hashes = {definition: sha256(seen.text.encode()) for definition, seen in shapes.items()}
    done = False
    while not done:
        finer = {}
        for definition, seen in shapes.items():
            references = [hashes.get(reference, "-") for reference in seen.references]
            effects = sorted({hashes.get(effect, "-") for effect in seen.effects})
            finer[definition] = sha256(
                " ".join([hashes[definition], *references, *effects]).encode()
            )
        done = len({*finer.values()}) == len({*hashes.values()})
        hashes = finer
    text = "\n".join(
        [*(hashes.get(root, "-") for root in roots), *sorted({*hashes.values()}), *sources]
    )
    return sha256(text.encode())[:16]


def _cuda(source: Path) -> str:
    """A CUDA source without comments and layout."""
    return " ".join(re.sub("//.*", "", source.read_text("utf-8")).split())
