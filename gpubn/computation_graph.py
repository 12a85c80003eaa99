"""The computation graph of batch normalization as data, without arrays.

Ioffe and Szegedy 2015, section 3, one operation a node; x is (N, D), sums run over the N examples,
and m is N less Bessel's correction. The kernels walk it for a gradient, a figure draws it.

>>> for node in NODES[:2]:
...     print(node.symbol, "=", node.operation, "of", [edge.input for edge in node.edges])
μ = mean of ['x']
c = x − μ of ['x', 'mean']
"""

from typing import NamedTuple


class Edge(NamedTuple):
    """An input of a node, and the derivative of the node with respect to it.

    That is `factor` times the `values`, over the number called `per`. Where the node has one row
    an example and the input has one row in all the gradient is summed over the examples.

    Attributes:
        input: the name of a node, or of an input of the graph.
        factor: a number that multiplies without rounding.
        values: the names of what stands in the derivative, multiplied from left to right.
        per: "N", "m", or nothing.
        shown: the derivative as a text.
    """

    input: str
    shown: str
    factor: float = 1.0
    values: tuple[str, ...] = ()
    per: str = ""


class Node(NamedTuple):
    """One operation.

    Attributes:
        name: that of its output.
        symbol: its output as a text, and `operation` what is done.
        per_example: whether its output has one row an example, (N, D), or one in all, (1, D).
        edges: its inputs.
    """

    name: str
    symbol: str
    operation: str
    per_example: bool
    edges: tuple[Edge, ...]

    @property
    def shape(self) -> str:
        """Its shape as a text."""
        return "N × D" if self.per_example else "1 × D"


INPUTS = (
    Node("x", "x", "", True, ()),
    Node("gamma", "γ", "", False, ()),
    Node("beta", "β", "", False, ()),
)
NODES = (
    Node("mean", "μ", "mean", False, (Edge("x", "1/N", per="N"),)),
    Node("centred", "c", "x − μ", True, (Edge("x", "1"), Edge("mean", "−1", -1.0))),
    Node("square", "q", "c²", True, (Edge("centred", "2c", 2.0, ("centred",)),)),
    Node("var", "σ²", "sum / m", False, (Edge("square", "1/m", per="m"),)),
    Node("std", "s", "√(σ² + ε)", False, (Edge("var", "r/2", 0.5, ("inv_std",)),)),
    Node("inv_std", "r", "1 / s", False, (Edge("std", "−r²", -1.0, ("inv_std", "inv_std")),)),
    Node(
        "x_hat", "x̂", "c · r", True,
        (Edge("centred", "r", values=("inv_std",)), Edge("inv_std", "c", values=("centred",))),
    ),
    Node(
        "scaled", "u", "γ · x̂", True,
        (Edge("x_hat", "γ", values=("gamma",)), Edge("gamma", "x̂", values=("x_hat",))),
    ),
    Node("y", "y", "u + β", True, (Edge("scaled", "1"), Edge("beta", "1"))),
)  # fmt: skip
"""In an order in which each can be computed; the last is the output of the graph."""
