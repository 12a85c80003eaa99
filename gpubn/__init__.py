"""gpubn: what batch normalization really does, re-run with seeds, and the kernels it took."""

from gpubn.kernels import batch_norm, batch_norm_backward, batch_norm_inference

__version__ = "0.1.0"
__all__ = ["__version__", "batch_norm", "batch_norm_backward", "batch_norm_inference"]
