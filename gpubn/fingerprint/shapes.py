"""The text of a definition with a hole for each reference, and what goes into the holes."""

import ast
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpubn.fingerprint.modules import (
    BINDING_FIELDS,
    Definition,
    ReadOnce,
    effects,
    is_silent,
    lead,
    module_of,
    path_of,
    source,
    stored,
)


@dataclass(frozen=True)
class Shape:
    """A definition without the names of what it refers to.

    Attributes:
        effects: the statements that act when its module is imported, in no order.
    """

    text: str
    references: list[Definition]
    effects: list[Definition]


@ReadOnce
def shape(definition: Definition) -> Shape:
    """Read a definition."""
    writer = _Writer(definition)
    statements = module_of(definition.module).definitions[definition.name]
    text = "\n".join(writer.write(statement) for statement in statements)
    return Shape(text, writer.references, effects(definition.module))


class _Scope(NamedTuple):
    """The variables: a parameter, which callers may name, is written as it is, others by number.

    Attributes:
        unsure: those that may be the module's: of a class, before it assigns them; of a function,
            those that are known within a comprehension only.
        of_class: that functions inside do not see these.
    """

    names: dict[str, str]
    unsure: frozenset[str]
    of_class: bool = False


class _Writer(ast.NodeTransformer):
    """Writes a statement with a hole for each reference to a definition of the package."""

    def __init__(self, definition: Definition) -> None:
        self.references: list[Definition] = []
        self._definition, self._module = definition, module_of(definition.module)
        self._scopes: list[_Scope] = []

    def write(self, statement: ast.stmt) -> str:
        """The statement's text; what it refers to is appended to `references`."""
        copied = ast.parse(ast.unparse(statement)).body[0]
        return ast.unparse(self.visit(copied))

    def visit(self, node: ast.AST) -> Any:
        """The node as it is written; None for a statement that changes no number.

        An import of another package in a block stays: what follows may depend on its success.
        """
        if isinstance(node, ast.Import | ast.ImportFrom):
            home = source(node, self._definition.module) if isinstance(node, ast.ImportFrom) else ""
            names = [home or alias.name for alias in node.names]
            return None if all(map(path_of, names)) else node
        return None if is_silent(node) else super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.name = self._bound(node.name)
        self._enter(node.args, ast.Module(node.body, []))
        if node.returns is not None:
            node.returns = self.visit(node.returns)
        node.body = self._body(node.body)
        self._scopes.pop()
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._enter(node.args, ast.Expr(node.body))
        node.body = self.visit(node.body)
        self._scopes.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._bound(node.name)
        for expressions in (node.decorator_list, node.bases):
            expressions[:] = map(self.visit, expressions)
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        names = {name: name for name in stored(node)}
        self._scopes.append(_Scope(names, frozenset(names), of_class=True))
        node.body = self._body(node.body)
        self._scopes.pop()
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._variable(node.name)
        node.type = node.type and self.visit(node.type)
        node.body = self._body(node.body)
        return node

    def visit_pattern(self, node: ast.pattern) -> ast.AST:
        for field in BINDING_FIELDS:
            if name := getattr(node, field, None):
                setattr(node, field, self._bound(name))
        return self.generic_visit(node)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = visit_pattern  # noqa: N815

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(exc=None, cause=None)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        variable = self._variable(node.id)
        if variable is None:
            return ast.Name(self._global(node.id), node.ctx)
        if isinstance(node.ctx, ast.Load) and any(node.id in s.unsure for s in self._scopes):
            self._global(node.id)
        return ast.Name(variable, node.ctx)

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
            and len(targets := self._module.imports.get(base.id, [])) == 1
        ):
            names = [*targets[0].split("."), *chain]
            found, used = lead(".".join(names))
            if found:
                self.references += found
                expression: ast.expr = ast.Name("@", ast.Load())
                for attribute in names[used:]:
                    expression = ast.Attribute(expression, attribute, node.ctx)
                return expression
        return self.generic_visit(node)

    def _bound(self, name: str) -> str:
        """Return how to write a name that a statement binds without an `ast.Name`."""
        return self._variable(name) or self._global(name)

    def _variable(self, name: str) -> str | None:
        """Return how to write a variable of this name; None where it is none."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.names and (depth == 0 or not scope.of_class):
                return scope.names[name]
        return None

    def _global(self, name: str) -> str:
        """Return how to write a name of the module; append what it may refer to to `references`."""
        definitions, imports = self._module
        if name == self._definition.name:
            written = ["self@"]
        elif name in definitions:
            self.references.append(Definition(self._definition.module, name))
            written = ["@"]
        else:
            written = [] if name in imports else [name]
        for target in imports.get(name, []):
            found, used = lead(target)
            self.references += found
            if name not in definitions:
                written.append(".".join(["@", *target.split(".")[used:]]) if found else target)
        return "|".join(written)

    def _enter(self, arguments: ast.arguments, body: ast.AST) -> None:
        """Visit a function's arguments and enter its scope."""
        self.visit(arguments)
        a = arguments
        parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
        names = {parameter.arg: parameter.arg for parameter in parameters}
        lasting = {*names, *stored(body, comprehended=False)}
        of_module = {name for n in ast.walk(body) if isinstance(n, ast.Global) for name in n.names}
        for name in stored(body):
            if name not in of_module:
                names.setdefault(name, f"_{len(self._scopes) + 1}_{len(names)}")
        self._scopes.append(_Scope(names, frozenset({*names} - lasting)))

    def _body(self, body: list[ast.stmt]) -> list[ast.stmt]:
        kept = [self.visit(statement) for statement in body if not is_silent(statement)]
        return kept or [ast.Pass()]
