"""Which code made a number: a hash of the modules an experiment runs, comments and layout aside."""

import ast
import re
from functools import cache
from pathlib import Path

from gpubn.files import sha256

_PACKAGE = Path(__file__).parent
_CANNOT_CHANGE_A_NUMBER = frozenset(
    {
        "gpubn",
        "gpubn.errors",
        "gpubn.experiments",
        "gpubn.experiments.base",
        "gpubn.data.download",
        "gpubn.records",
        "gpubn.schema",
    }
)


@cache
def fingerprint(code: str | Path) -> str:
    """Short hash over a module of gpubn, or a script, and every module of gpubn that it imports."""
    seen: dict[str, str] = {}
    waiting: list[str | Path] = [code]
    while waiting:
        part = waiting.pop()
        name = part.name if isinstance(part, Path) else part
        if name in seen or name in _CANNOT_CHANGE_A_NUMBER:
            continue
        path = part if isinstance(part, Path) else _path(part)
        if path is None:  # a name inside a module
            continue
        tree = ast.parse(path.read_bytes())
        waiting += _imports(tree)
        seen[name] = ast.unparse(_without_docstrings(tree))
        seen |= {source.name: _cuda(source) for source in path.parent.glob("*.cu*")}
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return sha256(text.encode())[:16]


def _cuda(source: Path) -> str:
    """A CUDA source without comments and layout."""
    return " ".join(re.sub("//.*", "", source.read_text()).split())


def _path(module: str) -> Path | None:
    """The file of a module of gpubn, found without importing anything; None where it is none."""
    base = _PACKAGE.parent.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imports(tree: ast.Module) -> list[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return [name for name in found if name.split(".")[0] == _PACKAGE.name]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
