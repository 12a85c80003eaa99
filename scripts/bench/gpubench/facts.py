"""Where and with what a run was made: device, driver, clocks as found, versions. Reads only."""

import platform
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from gpubench.clock import DeviceClock, HostClock, Site
from gpubn.files import git_revision

_QUERY = (
    *("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem"),
    *("power.draw", "power.limit", "temperature.gpu"),
)
_DISTRIBUTIONS = {
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "torch": ("torch",),
    "jax": ("jax",),
    "jaxlib": ("jaxlib",),
    "triton": ("triton",),
    "nvmath": ("nvmath-python",),
    "numpy": ("numpy",),
}
_DRY_CACHE = 32 << 10
_USUAL_CACHE = 64 << 20


def site_of(backend: Any, *, dry: bool) -> Site:
    """The place where all is measured: the current device, or in a dry run the host."""
    if dry:
        return Site(backend, HostClock(), _DRY_CACHE, dry=True)
    runtime = backend.xp.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    cache = int(properties.get("l2CacheSize", 0)) or _USUAL_CACHE
    return Site(backend, DeviceClock(backend.xp), cache, dry=False)


def gather(site: Site, revision: str | None = None) -> dict[str, Any]:
    """What a reader needs to know; nothing of the card is changed."""
    found: dict[str, Any] = {
        **site.backend.facts(),
        "machine": platform.platform(),
        "l2_bytes": site.cache,
        "versions": versions(),
        "revision": revision or git_revision(),
        "started": now(),
    }
    if not site.dry:
        found["gpu_at_start"] = nvidia_smi()
        with suppress(Exception):
            runtime = site.backend.xp.cuda.runtime
            found["cuda_driver"] = runtime.driverGetVersion()
            found["cuda_runtime"] = runtime.runtimeGetVersion()
    return found


def now() -> str:
    """The time, for a record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
    """Versions as installed; None for what is not. Imports nothing."""
    found: dict[str, str | None] = {}
    for name, candidates in _DISTRIBUTIONS.items():
        found[name] = None
        for candidate in candidates:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(candidate)
                break
    return found


def nvidia_smi() -> dict[str, str]:
    """Clocks, power and temperature of the first card, as they are."""
    if shutil.which("nvidia-smi") is None:
        return {"failed": "nvidia-smi is not installed"}
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"failed": str(error)}
    values = [value.strip() for value in (done.stdout.splitlines() or [""])[0].split(",")]
    return dict(zip(_QUERY, values, strict=False))
