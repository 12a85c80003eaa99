"""From tables to verdicts and figures. Nothing here imports the array layer."""

from gpubn.errors import require

EXTRA = require(__name__, "experiments", ("jinja2", "matplotlib", "pandas", "pydantic", "yaml"))
"""The extra that has what this room imports; asked for here, once and before all else."""
