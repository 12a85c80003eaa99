"""Every kernel that can be asked for, for those who compile them all."""

from gpubn.backend import Kernel
from gpubn.kernels.cuda import batch_norm

_LAUNCHERS = {batch_norm.STEM: batch_norm}


def stems() -> list[str]:
    """The names of all sources."""
    return sorted(_LAUNCHERS)


def instantiations(stem: str, arch: int) -> list[Kernel]:
    """Every kernel of a source that a device of this compute capability can be asked for."""
    return _LAUNCHERS[stem].instantiations(arch)
