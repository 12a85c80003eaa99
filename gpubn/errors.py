"""The errors a user of gpubn can meet: one sentence with argument, value seen, what is allowed."""


class GpubnError(Exception):
    """Base of every error that gpubn raises on purpose; scripts print it without a traceback."""


class ArgumentError(GpubnError, ValueError):
    """A kernel or layer was called with a value, shape or dtype it does not take."""


class ConfigError(GpubnError, ValueError):
    """A configuration key is misspelt, of the wrong type, or out of range."""


class BackendError(GpubnError, RuntimeError):
    """The requested array backend does not work on this machine."""


class DataError(GpubnError):
    """A dataset is missing, truncated, corrupt, or not what its name says."""


class DataUnavailableError(DataError):
    """A dataset is not on this machine and cannot be downloaded."""


class StoreError(GpubnError):
    """A result cannot be written to, or read from, the results folder or a tracker."""


class LedgerError(GpubnError, ValueError):
    """A claim's entry in the ledger is malformed, or its tables cannot decide it."""


class WorkerError(GpubnError, RuntimeError):
    """A worker process died."""


class CellError(GpubnError, RuntimeError):
    """A cell could not be measured; its traceback is in the store."""


class ExtensionError(GpubnError, ValueError):
    """An extension is missing or empty, cannot be imported, or has a name that is taken."""
