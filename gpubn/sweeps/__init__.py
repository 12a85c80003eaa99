"""From overrides to finished cells: compose, plan, run, keep, tabulate."""
