"""What the scripts in scripts/figures draw with; `drawing` runs them."""
