"""A sheet: the tables that a figure is made of, what their captions say of them, and its page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from gpubn.errors import StoreError
from gpubn.report import words
from gpubn.report.figures.style import new_figure


class Sheet:
    """The page that a script draws on, from the tables that it declares.

    Attributes:
        tables: all tables by their stems.
        table: the first of them.
        verdicts: the sentence about the figure's claims that ends its caption.
        figure: the figure, once `grid` has made it.
    """

    figure: Figure

    def __init__(self, tables: Mapping[str, pd.DataFrame], verdicts: str = "") -> None:
        self.tables, self.verdicts = tables, verdicts
        self.table = next(iter(tables.values()))

    def grid(
        self,
        shape: tuple[int, int],
        size: tuple[float, float],
        text: str,
        legend: Sequence[Artist] = (),
        *,
        legend_columns: int = 6,
    ) -> np.ndarray:
        """Make the figure, `size` inches wide and high, and return its axes in rows and columns.

        `text` is the title, which is one line, and the caption.
        """
        title, _, caption = text.partition("\n")
        if not self.is_published_data:
            title = f"{title} ({', '.join(sorted({*self.table['data']}))}, not MNIST)"
        width, height = size
        self.figure, axes = new_figure(
            *shape, width=width, height=height, legend=legend, legend_columns=legend_columns,
            title=title, caption=f"{caption} {self.verdicts}",
        )  # fmt: skip
        return axes

    @property
    def config(self) -> dict[str, Any]:
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
    def dataset(self) -> str:
        """The dataset of the table, in words."""
        return " and ".join(
            words.DATASETS.get(name, name) for name in sorted(self.table["data"].unique())
        )

    @property
    def is_published_data(self) -> bool:
        """True if the table was made from the data of the document, so that its values compare."""
        return "data" not in self.table or set(self.table["data"]) == {"mnist"}

    @property
    def hidden_layers(self) -> str:
        """The hidden layers in words: 2 hidden layers of 64."""
        depth = self.config["model.depth"]
        return f"{depth} hidden layer{'s' * (depth > 1)} of {self.config['model.width']}"

    @property
    def one_layer(self) -> str:
        """The network in words: One hidden layer of 100 tanh units."""
        c = self.config
        return f"One hidden layer of {c['model.width']} {c['model.activation']} units"

    @property
    def training(self) -> str:
        """The length of a training in words: 1,500 steps of batch 60."""
        return f"{self.config['optim.steps']:,} steps of batch {self.config['optim.batch']}"

    @property
    def falling_rate(self) -> str:
        """The learning rate in words: rate 0.1 falling linearly to 0.01."""
        c = self.config
        return f"rate {c['optim.rate']:g} falling linearly to {c['optim.min_rate']:g}"

    @property
    def weights(self) -> str:
        """The initialisation of the weights in words: Glorot normal."""
        return str(self.config["init.kind"]).replace("_", " ").capitalize()

    @property
    def activation(self) -> str:
        """The activation in words."""
        return words.ACTIVATIONS[self.config["model.activation"]]

    def levels(self, column: str) -> list[str]:
        """Return the numbers that a column holds in order, as the table writes them."""
        return sorted(self.table[column].unique(), key=float)


class _Common(dict[str, Any]):
    """The configuration that cells have in common; a key in which they differ is refused."""

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__(table.attrs["config"])
        self._table = table

    def __missing__(self, key: str) -> Any:
        held = ", ".join(map(str, self._table[key].unique())) if key in self._table else "unknown"
        raise StoreError(f"cells differ in {key} ({held}); the figure needs one value of it")
