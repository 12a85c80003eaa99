"""The definitions and imports of a module, read from its text: nothing is imported."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from gpubn import extensions

K = TypeVar("K", bound="str | Definition")
T = TypeVar("T")
PACKAGE = Path(__file__).parents[1]
_LOGS = ("log", "logger")
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
BINDING_FIELDS = ("name", "rest")
"""The fields in which a pattern and an `except` keep the name that they bind."""
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
_NAMED = _FUNCTION | ast.ClassDef


class Definition(NamedTuple):
    """A name at the top of a module, or of a script, whose path ends in ".py".

    "" stands for the statements that define nothing: they act when the module is imported.
    """

    module: str
    name: str


class Module(NamedTuple):
    """The names at the top of a module.

    Attributes:
        definitions: name -> the statements that bind it; "" has those that act.
        imports: name -> the dotted names of all that is imported as it, within functions, too.
    """

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, list[str]]


class ReadOnce(Generic[K, T]):
    """Calls a function of a module or a definition once; of a script each time: it may change."""

    def __init__(self, function: Callable[[K], T]) -> None:
        self._function, self._cached = function, cache(function)
        self.cache_clear = self._cached.cache_clear

    def __call__(self, key: K) -> T:
        module = key.module if isinstance(key, Definition) else key
        return (self._function if module.endswith(".py") else self._cached)(key)


@ReadOnce
def module_of(module: str) -> Module:
    """Read a module of the package, or a script."""
    path = Path(module) if module.endswith(".py") else path_of(module)
    assert path is not None, module
    tree = ast.parse(path.read_bytes())
    imports: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        for name, target in _imported(node, module):
            if target not in imports.setdefault(name, []):
                imports[name].append(target)
    definitions: dict[str, list[ast.stmt]] = {"": []}
    for statement in tree.body:
        if not is_silent(statement):
            bound = _bound_by(statement)
            for name in [*bound, ""] if not bound or _acts(statement) else bound:
                definitions.setdefault(name, []).append(statement)
    return Module(definitions, imports)


@cache
def path_of(module: str) -> Path | None:
    """The file of a module of the package or an extension; None where there is no such module."""
    root, *parts = module.split(".")
    if (folder := _folder(root)) is not None:
        base = folder.joinpath(*parts)
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
    return None


def _folder(root: str) -> Path | None:
    """The folder of the package of this name, if it is ours or an extension's."""
    return PACKAGE if root == PACKAGE.name else extensions.package_folder(root)


def source(node: ast.ImportFrom, module: str) -> str:
    """The dotted name of the module that a `from` in another one imports from."""
    if not node.level:
        return node.module or ""
    path = path_of(module)
    package = module.split(".")
    up = node.level - (path is not None and path.stem == "__init__")
    return ".".join([*package[: len(package) - up], *filter(None, [node.module])])


def _imported(node: ast.AST, module: str) -> Iterator[tuple[str, str]]:
    """The names that an import binds, each with the dotted name of what it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            root = alias.name.split(".")[0]
            yield alias.asname or root, alias.name if alias.asname else root
            yield alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{source(node, module)}.{alias.name}"


def _bound_by(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    return [statement.name] if isinstance(statement, _NAMED) else sorted({*stored(statement)})


def stored(node: ast.AST, *, comprehended: bool = True) -> Iterator[str]:
    """The names that are assigned to within a node; those of functions in it are their own.

    Args:
        comprehended: with those that are known within a comprehension only.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _NAMED):
            yield child.name
        elif isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            yield child.id
        elif isinstance(child, ast.comprehension) and not comprehended:
            for inner in (child.iter, *child.ifs):
                yield from stored(inner, comprehended=False)
        elif not isinstance(child, ast.Lambda):
            if isinstance(child, ast.ExceptHandler | ast.pattern):
                yield from filter(None, (getattr(child, field, None) for field in BINDING_FIELDS))
            yield from stored(child, comprehended=comprehended)


def is_silent(statement: ast.AST) -> bool:
    """Return True if no number depends on it: an import, a string, `pass`, a line for the log."""
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name):  # TYPE_CHECKING
        return all(map(is_silent, [*statement.body, *statement.orelse]))
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        logs = isinstance(value.func.value, ast.Name) and value.func.value.id in _LOGS
        return logs and value.func.attr in _LEVELS and not [*stored(value)]
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _acts(node: ast.AST) -> bool:
    """Return True if a statement that defines a name also changes what has another."""
    if isinstance(node, _FUNCTION | ast.Lambda):
        return False
    if isinstance(node, ast.Attribute | ast.Subscript):
        return not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Expr):
        return not is_silent(node)
    return any(map(_acts, ast.iter_child_nodes(node)))


@ReadOnce
def effects(module: str) -> list[Definition]:
    """The statements that act when a module is imported: its own, and those of what it imports."""
    waiting, seen = [module], {""}
    found = []
    while waiting:
        name = waiting.pop()
        if name in seen or not (name.endswith(".py") or path_of(name)):
            continue
        seen.add(name)
        definitions, imports = module_of(name)
        found += [Definition(name, "")] if definitions[""] else []
        for target in (name, *(target for targets in imports.values() for target in targets)):
            parts = target.split(".") if "." in target and _folder(target.split(".")[0]) else []
            waiting += [".".join(parts[: i + 1]) for i in range(len(parts))]
    return found


def defined(module: str, name: str) -> list[Definition]:
    """The definitions of a name, wherever it was imported from; none where it is a module."""
    if path_of(module) is None:
        return []
    if name in module_of(module).definitions:
        return [Definition(module, name)]
    targets = (target.rpartition(".") for target in module_of(module).imports.get(name, []))
    return [definition for home, _, there in targets for definition in defined(home, there)]


def lead(dotted: str) -> tuple[list[Definition], int]:
    """The definitions that a dotted name leads to, and how many of its parts that took.

    A module leads to all that it defines; so does a name in it that only running it would find. A
    name of another package leads to none.
    """
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module, name = ".".join(parts[:length]), parts[length]
        if path_of(module) is not None:
            if found := defined(module, name):
                return found, length + 1
            targets = (f"{module}.{name}", *module_of(module).imports.get(name, []))
            modules = [target for target in targets if path_of(target)]
            found = [d for inner in modules or [module] for d in _all_of(inner)]
            return found, length + bool(modules)
    return (_all_of(dotted), 1) if path_of(dotted) else ([], 0)


def _all_of(module: str) -> list[Definition]:
    definitions, imports = module_of(module)
    names = [*sorted(definitions), *sorted({*imports} - {*definitions})]
    return [definition for name in names for definition in defined(module, name)]
