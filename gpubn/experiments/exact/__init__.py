"""Exact checks: identities, gradients and invariances of batchnorm that hold to rounding."""
