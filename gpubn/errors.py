"""The errors a user of gpubn can meet: one sentence with argument, value seen, what is allowed."""

from importlib.util import find_spec


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


class SiteError(GpubnError):
    """A page of the site cannot be made, or something that it is made from is missing."""


class WorkerError(GpubnError, RuntimeError):
    """A worker process died."""


class CellError(GpubnError, RuntimeError):
    """A cell could not be measured; its traceback is in the store."""


class ExtensionError(GpubnError, ValueError):
    """An extension is missing or empty, cannot be imported, or has a name that is taken."""


class ExtraError(GpubnError, ImportError):
    """A part of gpubn was imported without the packages that it needs."""


def require(part: str, extra: str, modules: tuple[str, ...]) -> str:
    """Return the extra if all modules are there that a part of gpubn imports.

    Raises:
        ExtraError: they are not; it says which extra has them.

    >>> require("tables", "experiments", ("json",))
    'experiments'
    """
    if missing := [name for name in modules if find_spec(name) is None]:
        raise ExtraError(
            f"{part} needs {', '.join(missing)}; expected the extra {extra}: "
            f"pip install 'gpubn[{extra}]'"
        )
    return extra
