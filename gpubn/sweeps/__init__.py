"""From overrides to finished cells: compose, plan, run, keep, tabulate."""

from gpubn.errors import require

EXTRA = require(__name__, "experiments", ("filelock", "hydra", "tqdm", "yaml"))
"""The extra that has what this room imports; asked for here, once and before all else."""
