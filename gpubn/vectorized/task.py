"""Marks for an application's task: which function runs many of its jobs at once."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import hydra
from omegaconf import DictConfig, OmegaConf

Together = Callable[[Sequence[DictConfig]], Iterable[tuple[int, Any]]]
"""Configurations -> (index, share) of each as it is finished."""
Task = TypeVar("Task", bound=Callable[..., Any])
_ATTRIBUTE, _QUIET = "vectorized_together", "vectorized_quiet"


def vectorized(together: Together, *, quiet: bool = False) -> Callable[[Task], Task]:
    """Decorate a task function `task(config, share=None)`, below `hydra.main`.

    Without the launcher the task is called with the configuration alone, and does all the work.
    With it, `together(configs)` does the work of many and yields (index, share) in any order. The
    task is then called with its share and does what is left: log, save, return. A share that is an
    exception is raised in its job. A job that gets no share is run by the task alone.

    Args:
        quiet: the application says itself how far it is and what failed.

    Raises:
        TypeError: it stands above `hydra.main`, which would hide it from the launcher.

    >>> def together(configs):
    ...     yield from enumerate(config.rate * 2 for config in configs)
    >>> @vectorized(together)
    ... def task(config, share=None):
    ...     return config.rate * 2 if share is None else share
    >>> task(OmegaConf.create({"rate": 3}))
    6
    """

    def decorate(task: Task) -> Task:
        if getattr(task, "__globals__", {}).get("__name__") == hydra.main.__module__:
            raise TypeError(
                f"@vectorized stands above @hydra.main on {task.__name__}; expected it below, "
                "between @hydra.main and the function"
            )
        setattr(task, _ATTRIBUTE, together)
        setattr(task, _QUIET, quiet)
        return task

    return decorate


def together_of(task: Callable[..., Any]) -> Together | None:
    """Return the function that `vectorized` gave to a task."""
    return getattr(task, _ATTRIBUTE, None)


def is_quiet(task: Callable[..., Any]) -> bool:
    """Return whether a task's application speaks for itself."""
    return getattr(task, _QUIET, False)


def alike(configs: Sequence[DictConfig], but_for: Sequence[str]) -> list[list[int]]:
    """Group configurations that are equal but for some dotted keys; return their indices.

    >>> made = [{"optim": {"rate": r}, "norm": n} for r, n in ((0.1, "a"), (0.2, "a"), (0.2, "b"))]
    >>> alike([OmegaConf.create(one) for one in made], but_for=["optim.rate"])
    [[0, 1], [2]]
    """
    groups: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        content = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
        for key in but_for:
            *path, last = key.split(".")
            node: Any = content
            for name in path:
                node = node.get(name) if isinstance(node, dict) else None
            if isinstance(node, dict):
                node.pop(last, None)
        groups.setdefault(json.dumps(_ordered(content), default=str), []).append(index)
    return list(groups.values())


def _ordered(node: Any) -> Any:
    """Return dictionaries as lists in an order of their keys, which need not be of one type."""
    if isinstance(node, dict):
        return [[repr(key), _ordered(node[key])] for key in sorted(node, key=repr)]
    return [_ordered(value) for value in node] if isinstance(node, list) else node
