"""A table in words: what the titles, captions and alternative texts of figures say of it."""

import string
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from gpubn.errors import StoreError
from gpubn.report import words
from gpubn.report.figures.selection import has_one_rate_an_arm


class Described:
    """A table, and what a text can say of it by a name in braces, such as "{dataset}, {n}".

    Every number of such a text comes out of the columns of the table or the configuration that its
    provenance holds; `{c[optim.steps]}` is one key of that, `{each[rate]}` the levels of a column,
    and `{another[n]}` says `{n}` of another table of the figure.

    Attributes:
        table: its rows.
        said: further words by their name, which a figure adds.
    """

    def __init__(self, table: pd.DataFrame, constants: Mapping[str, Any] | None = None) -> None:
        self.table, self._constants = table, constants or {}
        self.said: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return what a name stands for: what was said, words of the table, or a constant."""
        if name in self.said or name not in _WORDS:
            return {**self._constants, **self.said}[name]
        return _WORDS[name](self)

    def fill(self, template: str) -> str:
        """Return a text with its names in braces filled in, on one line."""
        return " ".join(_Formatter().vformat(template, (), cast(Mapping[str, Any], self)).split())

    @property
    def config(self) -> "_Common":
        """The configuration that all cells of the table have in common, by key.

        Raises:
            StoreError: the table has no provenance beside it.
        """
        if not self.table.attrs["config"]:
            raise StoreError("the table has no provenance; expected its JSON file beside it")
        return _Common(self.table)

    @property
    def seeds(self) -> int:
        """Number of seeds in the table."""
        return int(self.table["seed"].nunique())

    @property
    def is_published_data(self) -> bool:
        """True if the table was made from the data of the document, so that its values compare."""
        return "data" not in self.table or set(self.table["data"]) == {"mnist"}

    def titled(self, title: str) -> str:
        """Return a title in which data other than the documents' are named."""
        if self.is_published_data:
            return title
        return f"{title} ({', '.join(sorted({*self.table['data']}))}, not MNIST)"

    def levels(self, column: str) -> list[str]:
        """Return the numbers that a column holds in order, as the table writes them."""
        return sorted(self.table[column].unique(), key=float)


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        """Write what is listed with commas."""
        listed = isinstance(value, tuple | Mapping)
        return ", ".join(map(str, value)) if listed else format(value, format_spec)


class _Common(dict[str, Any]):
    """The configuration that cells have in common; a key in which they differ is refused."""

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__(table.attrs["config"])
        self._table = table

    def __missing__(self, key: str) -> Any:
        held = ", ".join(map(str, self._table[key].unique())) if key in self._table else "unknown"
        raise StoreError(f"cells differ in {key} ({held}); the figure needs one value of it")


class _Levels(dict[str, str]):
    def __init__(self, of: Described) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, column: str) -> str:
        return ", ".join(self._of.levels(column))


def _dataset(of: Described) -> str:
    if "data" not in of.table:
        return "standard normal input"
    named = sorted(of.table["data"].unique())
    return " and ".join(words.DATASETS.get(name, name) for name in named)


def _units(of: Described, before: str = "") -> str:
    c = of.config
    kind = f"{words.ACTIVATIONS.get(c.get('model.activation', ''), '')} ".lstrip()
    return f"{kind}layers of {c['model.width']}" if before else f"{c['model.width']} {kind}units"


def _layers(of: Described) -> str:
    depth = of.config.get("model.depth")
    return f"{depth} hidden layer{'s' * (depth > 1)}" if depth else "hidden layers"


def _training(of: Described) -> str:
    batch = of.config.get("optim.batch")
    return f"{of.config['optim.steps']:,} steps" + (f" of batch {batch}" if batch else "")


def _rate(of: Described) -> str:
    c = of.config
    if "optim.rate" not in c:
        rates = of.levels("rate")
        if has_one_rate_an_arm(of.table):
            return f"constant rates {rates[0]} to {rates[-1]} (one an arm)"
        return f"constant rates {', '.join(rates)}"
    if c["optim.schedule"] != "linear":
        return f"constant rate {c['optim.rate']:g}"
    return f"rate {c['optim.rate']:g} falling linearly to {c['optim.min_rate']:g}"


def _signal(of: Described) -> str:
    c = of.config
    examples = f"{c['data.examples']:,} " if "data.examples" in c else ""
    layers = f"{c['model.depth']} {_units(of, 'layers')} units at initialisation"
    return f"{layers}, {examples}standard normal examples, {c['dtype']}"


def _diverged(of: Described) -> str:
    flags = of.table.loc[of.table["metric"] == "diverged", "value"]
    return f"{int(np.count_nonzero(flags)) or 'None'} of {len(flags):,} trainings diverged."


_WORDS: dict[str, Callable[[Described], Any]] = {
    "c": lambda of: of.config,
    "each": _Levels,
    "seeds": lambda of: of.seeds,
    "n": lambda of: f"n = {of.seeds} seed{'s' * (of.seeds != 1)}",
    "dots": lambda of: f"Dots: {of['n']}; marks and bars: mean and 95% t-interval.",
    "lines": lambda of: f"Lines: mean of {of['n']}; bands: 95% t-interval.",
    "geometric": lambda of: f"Lines: geometric mean of {of['n']}; bands: 95% t-interval.",
    "stars": lambda of: "Thin bars: 95% interval of one run." * of.is_published_data,
    "dataset": _dataset,
    "network": lambda of: f"{_layers(of)} of {_units(of)}",
    "weights": lambda of: str(of.config["init.kind"]).replace("_", " ").capitalize(),
    "training": _training,
    "rate": _rate,
    "signal": _signal,
    "diverged": _diverged,
}
"""Name -> words: n = 10 seeds; 2 hidden layers of 64 tanh units; Glorot normal; 1,500 steps of
batch 32; rate 0.1 falling linearly to 0.01; 20 ReLU layers of 100 units at initialisation, ..."""
