"""One name, one meaning: no two classes, and no public functions of two rooms, share a name."""

import ast
from collections import defaultdict
from pathlib import Path

import gpubn

PACKAGE = Path(gpubn.__file__).parent


def test_no_name_means_two_things():
    """Inside a room functions may share one: an operation's public, oracle and device twins."""
    classes, aliases, rooms = (defaultdict(list) for _ in range(3))
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(module)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                rooms[node.name].append(module.parts[0])
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                aliases[node.targets[0].id].append(module)
    twice = {name for name, modules in classes.items() if len(modules + aliases[name]) > 1}
    twice |= {name for name, of_function in rooms.items() if len({*of_function}) > 1}
    assert twice == set()
