"""Which code made a number: a hash of the definitions that it depends on, wherever they stand.

A definition is a function, a class or a constant of a module. Its hash takes in what it refers to,
not under which name or in which file; comments, docstrings, imports, names of local variables, log
lines and the sentences of errors count for nothing.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gpubn.files import sha256

_PACKAGE = Path(__file__).parent
_CANNOT_CHANGE_A_NUMBER = (
    "gpubn.errors",
    "gpubn.rows",
    "gpubn.config",
    "gpubn.data.registry",
    "gpubn.nn.norms",
    "gpubn.experiments.base",
)
"""A cell is identified by its configuration, and what these hold besides moves or names things."""
_DEVICE_ONLY = ("gpubn.kernels.cuda", "gpubn.backend.cupy_device")
"""Nothing here runs on the CPU."""
_BACKEND = "gpubn.backend:Backend"


@cache
def fingerprint(definitions: tuple[str, ...], *, device: bool = False) -> str:
    """Return a short hash of what can change the numbers of some definitions.

    Args:
        definitions: "module:name" each, e.g. "gpubn.experiments.bessel:EXPERIMENT".
        device: also of the code that runs on a GPU alone.
    """
    sources = sorted(map(_cuda, _PACKAGE.rglob("*.cu*"))) if device else []
    roots = [_exported(*definition.split(":")) for definition in (*definitions, _BACKEND)]
    return _hash(
        [root for root in roots if root is not None], () if device else _DEVICE_ONLY, sources
    )


def script_fingerprint(path: Path) -> str:
    """Return a short hash of a script and of all in the package that it refers to."""
    return _hash([_Definition(str(path), name) for name in _read(str(path)).definitions], (), [])


class _Definition(NamedTuple):
    """A name at the top of a module; "" stands for the statements that define nothing."""

    module: str
    name: str


@dataclass(frozen=True)
class _Shape:
    """A definition's text with a hole for each reference, and what goes into the holes."""

    text: str
    references: tuple[_Definition, ...]


def _hash(roots: list[_Definition], left_out: tuple[str, ...], sources: list[str]) -> str:
    def counts(definition: _Definition) -> bool:
        if definition.module in _CANNOT_CHANGE_A_NUMBER:
            return False
        return not any(f"{definition.module}.".startswith(f"{part}.") for part in left_out)

    shapes: dict[_Definition, _Shape] = {}
    waiting = list(roots)
    while waiting:
        definition = waiting.pop()
        if definition not in shapes and counts(definition):
            shapes[definition] = _shape(definition)
            waiting += shapes[definition].references
    # Definitions may refer to each other in circles, so each hash is refined by those it refers to
    # until no two definitions are told apart that were not before.
    hashes = {definition: sha256(shape.text.encode()) for definition, shape in shapes.items()}
    while True:
        finer = {
            definition: sha256(
                " ".join(
                    [hashes[definition], *(hashes.get(r, "-") for r in shape.references)]
                ).encode()
            )
            for definition, shape in shapes.items()
        }
        done = len({*finer.values()}) == len({*hashes.values()})
        hashes = finer
        if done:
            break
    text = "\n".join(
        [*(hashes.get(root, "-") for root in roots), *sorted({*hashes.values()}), *sources]
    )
    return sha256(text.encode())[:16]


def _cuda(source: Path) -> str:
    """A CUDA source without comments and layout."""
    return " ".join(re.sub("//.*", "", source.read_text()).split())


class _Module(NamedTuple):
    """What the names at the top of a module stand for.

    Attributes:
        definitions: the statements that bind a name; "" has those that bind none.
        imports: name -> dotted name of what was imported, within functions, too.
    """

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, str]


@cache
def _module(name: str) -> _Module:
    """Read a module of the package, once a process."""
    path = _path(name)
    assert path is not None
    return _read(str(path))


def _read(path: str) -> _Module:
    """Read a source file."""
    tree = ast.parse(Path(path).read_bytes())
    imports: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name if alias.asname else alias.name.split(".")[0]
                imports[alias.asname or root] = root
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    definitions: dict[str, list[ast.stmt]] = {"": []}
    for statement in tree.body:
        if not _is_silent(statement):
            for bound in _bound_by(statement) or [""]:
                definitions.setdefault(bound, []).append(statement)
    return _Module(definitions, imports)


def _path(module: str) -> Path | None:
    """The file of a module of gpubn, found without importing anything; None where it is none."""
    base = _PACKAGE.parent.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _bound_by(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    return sorted({*_stored(statement)})


def _stored(node: ast.AST) -> Iterator[str]:
    """The names that are assigned to within a node; those of functions in it are their own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Lambda):
            continue
        elif isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            yield child.id
        else:
            if isinstance(child, ast.ExceptHandler) and child.name:
                yield child.name
            yield from _stored(child)


def _is_silent(statement: ast.stmt) -> bool:
    """Whether a statement changes no number: an import, a string, `pass`, a line for the log."""
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return isinstance(value.func.value, ast.Name) and value.func.value.id in ("log", "logger")
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _exported(module: str, name: str) -> _Definition | None:
    """The definition that a name of a module stands for, wherever it was imported from."""
    if _path(module) is None:
        return None
    found = _module(module)
    if name in found.definitions:
        return _Definition(module, name)
    return _dotted(found.imports[name])[0] if name in found.imports else None


def _dotted(name: str) -> tuple[_Definition | None, int]:
    """The definition that a dotted name leads to, and how many of its parts that took."""
    parts = name.split(".")
    if parts[0] != _PACKAGE.name:
        return None, 0
    for length in range(len(parts) - 1, 0, -1):
        if _path(".".join(parts[:length])) is not None:
            return _exported(".".join(parts[:length]), parts[length]), length + 1
    return None, 0


def _shape(definition: _Definition) -> _Shape:
    if definition.module.endswith(".py"):  # a script may have changed since
        return _write(definition, _read(definition.module))
    return _shape_in_package(definition)


@cache
def _shape_in_package(definition: _Definition) -> _Shape:
    return _write(definition, _module(definition.module))


def _write(definition: _Definition, module: _Module) -> _Shape:
    writer = _Writer(definition, module)
    text = "\n".join(writer.write(statement) for statement in module.definitions[definition.name])
    alongside = [_Definition(definition.module, "")] if module.definitions[""] else []
    return _Shape(text, (*writer.references, *alongside))


class _Scope(NamedTuple):
    """What variables are called: a parameter, which callers may name, as it is, others by number.

    Attributes:
        of_class: that these are attributes, which functions inside do not see as variables.
    """

    names: dict[str, str]
    of_class: bool = False


class _Writer(ast.NodeTransformer):
    """Writes a statement with a hole for each reference to a definition of the package."""

    def __init__(self, definition: _Definition, module: _Module) -> None:
        self.references: list[_Definition] = []
        self._definition, self._module = definition, module
        self._scopes: list[_Scope] = []

    def write(self, statement: ast.stmt) -> str:
        """The statement's text; what it refers to is appended to `references`."""
        copied = ast.parse(ast.unparse(statement)).body[0]
        inside: set[str] = set()
        if not isinstance(copied, ast.FunctionDef | ast.ClassDef):
            inside = {*_stored(copied)} - {*self._module.definitions}  # of comprehensions
        self._scopes = [_Scope({name: f"_{i}" for i, name in enumerate(sorted(inside))})]
        return ast.unparse(self.visit(copied))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(part) for part in node.decorator_list]
        node.name = self._variable(node.name) or "self@"
        self._enter(node.args, [*_stored(ast.Module(node.body, []))])
        if node.returns is not None:
            node.returns = self.visit(node.returns)
        node.body = self._body(node.body)
        self._scopes.pop()
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._enter(node.args, [*_stored(ast.Expr(node.body))])
        node.body = self.visit(node.body)
        self._scopes.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._variable(node.name) or "self@"
        for parts in (node.decorator_list, node.bases):
            parts[:] = [self.visit(part) for part in parts]
        node.keywords = [self.visit(part) for part in node.keywords]
        self._scopes.append(_Scope({name: name for name in _stored(node)}, of_class=True))
        node.body = self._body(node.body)
        self._scopes.pop()
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._variable(node.name)
        node.type = node.type and self.visit(node.type)
        node.body = self._body(node.body)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(exc=None, cause=None)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if (variable := self._variable(node.id)) is not None:
            return ast.Name(variable, node.ctx)
        if node.id == self._definition.name:
            return ast.Name("self@", node.ctx)
        if node.id in self._module.definitions:
            return self._hole(_Definition(self._definition.module, node.id))
        imported = self._module.imports.get(node.id)
        if imported is None:
            return node
        found, _ = _dotted(imported)
        if found is not None:
            return self._hole(found)
        if imported.split(".")[0] == _PACKAGE.name and _path(imported) is not None:
            # A module as a value: all that it defines may be used.
            for name in sorted(_module(imported).definitions):
                self._hole(_Definition(imported, name))
            return ast.Name("@", node.ctx)
        return ast.Name(imported, node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        chain: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            chain.insert(0, base.attr)
            base = base.value
        if (
            isinstance(base, ast.Name)
            and self._variable(base.id) is None
            and base.id not in self._module.definitions
            and base.id in self._module.imports
        ):
            root = self._module.imports[base.id]
            found, used = _dotted(".".join([root, *chain]))
            if found is not None:
                expression: ast.expr = self._hole(found)
                for attribute in chain[used - len(root.split(".")) :]:
                    expression = ast.Attribute(expression, attribute, node.ctx)
                return expression
        return self.generic_visit(node)

    def _variable(self, name: str) -> str | None:
        """What a variable of this name is called here; None where it is none."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.names and (depth == 0 or not scope.of_class):
                return scope.names[name]
        return None

    def _enter(self, arguments: ast.arguments, assigned: list[str]) -> None:
        """Visit a function's arguments and enter its scope."""
        self.visit(arguments)
        a = arguments
        parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
        names = {parameter.arg: parameter.arg for parameter in parameters}
        for name in assigned:
            names.setdefault(name, f"_{len(self._scopes)}_{len(names)}")
        self._scopes.append(_Scope(names))

    def _hole(self, definition: _Definition) -> ast.Name:
        self.references.append(definition)
        return ast.Name("@", ast.Load())

    def _body(self, body: list[ast.stmt]) -> list[ast.stmt]:
        kept = [self.visit(statement) for statement in body if not _is_silent(statement)]
        return kept or [ast.Pass()]
