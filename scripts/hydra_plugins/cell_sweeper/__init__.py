"""Shows `gpubn.sweeps.multirun` to Hydra, which looks for plugins below `hydra_plugins` alone."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class CellSweeper(BasicSweeper):
    """Sweeps over the cells of a grid, which it checks before any is run."""

    def sweep(self, arguments: Sequence[str]) -> Any:
        """Return what the launcher returns for each batch of jobs."""
        # Imported here: every Hydra application of this environment looks at its plugins.
        from gpubn.sweeps.multirun import run_sweep

        return run_sweep(self, arguments)
