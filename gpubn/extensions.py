"""Extensions: folders of one's own, with experiments, datasets, kinds of norm, figures and ledgers.

A folder mirrors the repository. `conf/` joins what Hydra searches; every module directly in it is
imported once, and an `Experiment` that one declares, or a kind that its `NORMS` names, counts as
one of ours; so do `sets/*.py`, `figures/*.py` and `ledger/*.yaml`. Folders are named by `extend=`
on a command line, whence the variable GPUBN_EXTEND tells every process that is started. A package
that is installed names itself by an entry point of the group `gpubn.extensions`.
"""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from gpubn.errors import ExtensionError
from gpubn.files import sha256

VARIABLE = "GPUBN_EXTEND"
GROUP = "gpubn.extensions"
_HOLDS = ("conf/**/*.yaml", "*.py", "sets/*.py", "figures/*.py", "ledger/*.yaml")


@dataclass(frozen=True)
class Extension:
    """A folder that holds more of what gpubn has.

    Attributes:
        name: what a person calls it; its reports stand under this name.
        package: the name under which its modules are imported.
    """

    name: str
    folder: Path
    package: str

    def files(self, pattern: str) -> list[Path]:
        """Return its files of a pattern such as "figures/*.py", without those of a package."""
        return [path for path in sorted(self.folder.glob(pattern)) if path.stem != "__init__"]


def extend(arguments: Sequence[str]) -> list[str]:
    """Take `extend=folder,folder` out of a command line and return what is left of it.

    From now on this process, and those that it starts, find what the folders hold.

    Raises:
        ExtensionError: a folder is not there, holds nothing, or has a module that fails.
    """
    named = [argument for argument in arguments if argument.startswith("extend=")]
    more = [f for argument in named for f in argument[len("extend=") :].strip("[]").split(",")]
    if not all(map(str.strip, more)):
        raise ExtensionError(f"{' '.join(named)} names no folder; expected extend=folder")
    places = [str(Path(f.strip()).expanduser().absolute()) for f in [*folders(), *more]]
    if places:  # a process that is started may stand in another folder
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(places))
    modules()
    return [argument for argument in arguments if argument not in named]


def folders() -> list[str]:
    """Return the folders that were named, as they are passed on."""
    return [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]


def extensions() -> tuple[Extension, ...]:
    """Return all extensions, installed ones first.

    Raises:
        ExtensionError: one is no folder, holds nothing, or has the name of another.
    """
    return _found(tuple(folders()))


@cache
def _found(places: tuple[str, ...]) -> tuple[Extension, ...]:
    found = [*_installed(), *map(_in_folder, map(Path, places))]
    for extension in found:
        if not any(extension.files(pattern) for pattern in _HOLDS):
            raise ExtensionError(
                f"the extension {extension.folder} holds nothing; expected any of "
                f"{', '.join(_HOLDS)}"
            )
    names = [extension.name for extension in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ExtensionError(f"two extensions are called {twice[0]}; expected a name for each")
    return tuple(found)


def _in_folder(folder: Path) -> Extension:
    if not folder.is_dir():
        raise ExtensionError(f"the extension {folder} is no folder; expected one that is there")
    name = re.sub(r"\W", "_", folder.name)
    # Two folders may have one name, and a module of ours must be safe from both.
    return Extension(name, folder, f"gpubn_extension_{name}_{sha256(str(folder).encode())[:8]}")


@cache
def _installed() -> tuple[Extension, ...]:
    return tuple(_of_package(one.name, one.value) for one in entry_points(group=GROUP))


def _of_package(name: str, package: str) -> Extension:
    try:
        spec = find_spec(package)
    except Exception as error:
        raise _not_importable(f"the extension {name} ({package})", error) from error
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ExtensionError(f"the extension {name} is {package!r}; expected a package")
    return Extension(re.sub(r"\W", "_", name), Path(places[0]), package)


_modules: dict[tuple[Extension, ...], list[ModuleType]] = {}


def modules() -> Sequence[ModuleType]:
    """Return the modules of all extensions, each imported once.

    A module that asks for them while it is imported sees those before it.

    Raises:
        ExtensionError: one cannot be imported.
    """
    found = extensions()
    if found not in _modules:
        loaded = _modules[found] = []
        try:
            for extension in found:
                start = extension.folder / "__init__.py"
                for path in [*[start] * start.exists(), *extension.files("*.py")]:
                    loaded.append(import_file(extension, path))
        except BaseException:
            del _modules[found]
            raise
    return _modules[found]


def import_file(extension: Extension, path: Path) -> ModuleType:
    """Import a module that stands in an extension's folder or below it.

    Raises:
        ExtensionError: that fails; says why, and at which line.
    """
    _make_package(extension)
    parts = path.relative_to(extension.folder).with_suffix("").parts
    parts = () if parts == ("__init__",) else parts
    try:
        return importlib.import_module(".".join([extension.package, *parts]))
    except ExtensionError:  # which says it better
        raise
    except Exception as error:
        raise _not_importable(str(path), error) from error


def _make_package(extension: Extension) -> None:
    """Let the modules of a folder be imported, and import each other by `from .other import x`."""
    if extension.package in sys.modules or not extension.package.startswith("gpubn_extension_"):
        return
    start, places = extension.folder / "__init__.py", [str(extension.folder)]
    spec = ModuleSpec(extension.package, None, is_package=True)
    if start.exists():
        found = spec_from_file_location(extension.package, start, submodule_search_locations=places)
        assert found is not None
        spec = found
    spec.submodule_search_locations = places
    package = sys.modules[extension.package] = module_from_spec(spec)
    try:
        if spec.loader is not None:
            spec.loader.exec_module(package)
    except Exception as error:
        del sys.modules[extension.package]
        raise _not_importable(str(start), error) from error


def _not_importable(what: str, error: Exception) -> ExtensionError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = "" if isinstance(error, SyntaxError) else f", line {last.lineno} of {last.filename}"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return ExtensionError(f"{what} cannot be imported ({said}{place}); expected a module that can")


def declared(constant: str) -> dict[str, Any]:
    """Return the entries of a dictionary of this name at the top of every extension's module.

    Raises:
        ExtensionError: two modules name the same entry.
    """
    entries: dict[str, Any] = {}
    for module in modules():
        for key, value in getattr(module, constant, {}).items():
            if entries.setdefault(key, value) is not value:
                raise exists("an entry of " + constant, key, module.__file__)
    return entries


def exists(kind: str, name: str, place: object) -> ExtensionError:
    """Return the error that something of an extension has a name that is taken."""
    return ExtensionError(f"{kind} {name!r} of {place} exists already; expected another name")


def package_folder(root: str) -> Path | None:
    """Return where the package of this name lies if it is that of an extension."""
    for extension in extensions():
        top, *parts = extension.package.split(".")
        if top == root:
            return extension.folder.parents[len(parts) - 1] if parts else extension.folder
    return None
