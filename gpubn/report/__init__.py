"""From tables to verdicts and figures. Nothing here imports the array layer."""
