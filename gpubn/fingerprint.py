"""Which code made a number: a hash of the modules an experiment runs, comments and layout aside."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from gpubn.files import sha256

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
        tree = ast.parse(path.read_bytes())
        waiting += _imports(tree)
        seen[name] = ast.dump(_without_docstrings(tree))
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return sha256(text.encode())[:16]


@cache
def _path(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _imports(tree: ast.Module) -> list[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = [name for name in found if name.split(".")[0] == "gpubn"]
    return [name for name in ours if _is_module(name)]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


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
