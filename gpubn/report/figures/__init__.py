"""The parts that scripts/figures draws with; `drawing` runs those scripts."""
