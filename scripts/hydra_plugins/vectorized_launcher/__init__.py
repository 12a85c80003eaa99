"""Shows `gpubn.vectorized` to Hydra, which looks for plugins below `hydra_plugins` alone."""

from gpubn.vectorized import launcher
from gpubn.vectorized.config import register


class VectorizedLauncher(launcher.VectorizedLauncher):
    """See `gpubn.vectorized.launcher`."""


register()
