"""A Hydra launcher that hands all jobs of a multirun to one function, which may run them at once.

With `hydra/launcher=vectorized` a task that is decorated with `vectorized` gets every configuration
of the sweep in one call, and each job still gets its folder, log, saved configuration, callbacks
and return value. This package knows nothing of the rest of gpubn: any Hydra application can use it.
"""

try:
    from gpubn.vectorized.task import alike, vectorized
except ModuleNotFoundError as error:
    raise ImportError(
        f"{__name__} needs {error.name}; expected the extra launcher: pip install 'gpubn[launcher]'"
    ) from error

__all__ = ["alike", "vectorized"]
