"""One module a dataset: `locate` finds its folder, `load` reads it, `assemble` makes the arrays.

What `load` reads is verified by its SHA-256, so that a number depends on `assemble` alone.
"""
