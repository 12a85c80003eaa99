"""Every kernel that can be asked for, for those who compile them all."""

from gpubn.backend import Kernel
from gpubn.kernels.cuda import activation, affine, batch_norm, sgd, softmax_cross_entropy, step

_LAUNCHERS = {
    launcher.STEM: launcher
    for launcher in (activation, affine, batch_norm, sgd, softmax_cross_entropy, step)
}


def stems() -> list[str]:
    """The names of all sources."""
    return sorted(_LAUNCHERS)


def instantiations(stem: str, arch: int) -> list[Kernel]:
    """Every kernel of a source that a device of this compute capability can be asked for."""
    found: list[Kernel] = _LAUNCHERS[stem].instantiations(arch)
    return found
