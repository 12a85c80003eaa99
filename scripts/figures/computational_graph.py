"""The computation graph of batch normalization, forward and back.

Dark: forward; red: back, times the derivative at the arrow, Σ summed over the N examples; in the
corner of a node the shape of its output; m is N less Bessel's correction. Below: difference between
the gradient walked through this graph and its closed form, and what reaches the mean through the
variance, relative to eps; dots: {n}, {FEATURES} features.

The graph is drawn from the nodes and derivatives that the kernel walks: x, mean, centred, square,
variance, standard deviation, its inverse, normalised, scaled by gamma, shifted by beta. Dots at the
lower edge are below {FLOOR} eps. Tolerance: (8 sqrt(N) + 16) eps; ε is {c[norm.eps]:g}.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from gpubn import theory
from gpubn.computation_graph import INPUTS, NODES, Node
from gpubn.report.figures import looks, style
from gpubn.report.figures.scales import category_axis
from gpubn.report.figures.selection import by, present
from gpubn.report.figures.sheets import Legend, Panels, Sheet, Slide, figure

LANES = {
    2.3: {"gamma": 10.3, "beta": 11.95},
    1.15: {"x": 0.0, "centred": 2.6, "x_hat": 8.65, "scaled": 10.3, "y": 11.95},
    0.0: {"mean": 1.3, "square": 3.7, "var": 5.35, "std": 7.0, "inv_std": 8.65},
}
"""Height of a lane -> the middle of each of its nodes."""
PLACES = {name: np.array([x, y]) for y, lane in LANES.items() for name, x in lane.items()}
HALF = np.array([0.56, 0.3])
"""Half the width and half the height of a node."""
APART, LABEL = 0.065, 0.23
"""From the middle of an edge to its arrows, and to the label of the one that goes back."""
GAP = 0.07
"""Between the edge of a node and its texts."""
COMPUTED, GREY = "#E8F0F6", "#555555"
CLOSED = """closed form, all paths summed, of d = ∂L/∂y:
∂L/∂β = Σ d
∂L/∂γ = Σ d x̂
∂L/∂x = γ r (d − ∂L/∂β / N − x̂ ∂L/∂γ / m)"""
OUT = 0.65
"""Length of the arrows at the ends of the graph."""
CHECKS = {
    "closed_vs_graph_error": "closed form − graph",
    "mean_path": "variance path to the mean",
}
FEATURES = "16"
"""The number of features that the claims are decided by."""
FLOOR = 0.1
ASIDE = {"float64": -0.12, "float32": 0.12}


@figure(__doc__, tables=("exact",), claims=("B4", "C2"), size=(7.8, 5.4))
@Panels(rows=2, columns=2, heights=(2.1, 1))
@Legend(
    [
        style.key("forward", color=style.INK, marker=">", markersize=4),
        style.key("backward", color=style.RED, marker="<", markersize=4),
        *style.keys(looks.DTYPES, line=False),
        style.key("tolerance", color=style.INK, linewidth=1.2, linestyle="--"),
    ]
)
@Slide(((0, 0),), source="red: times the derivative at the arrow; Σ: summed over N examples")
def draw(sheet: Sheet) -> None:
    _draw_graph(sheet.join(0, slice(None)))
    for ax, (check, name) in zip(sheet.axes[1], CHECKS.items(), strict=True):
        ax.set_title(f"{name}, by N")
        for dtype in present(sheet.table, "dtype", looks.DTYPES):
            _draw_errors(ax, sheet, check, dtype)
    sheet.axes[1, 0].set_ylabel("relative error / eps")


def _draw_errors(ax: Axes, sheet: Sheet, check: str, dtype: str) -> None:
    _, color, _, marker = looks.DTYPES[dtype]
    eps = float(np.finfo(dtype).eps)
    batches, errors = by(sheet.table, "batch", metric=check, features=FEATURES, dtype=dtype)
    at = np.broadcast_to(np.arange(len(batches))[:, None] + ASIDE[dtype], errors.shape)
    shown = np.maximum(errors / eps, FLOOR)
    ax.plot(at.ravel(), shown.ravel(), marker, color=color, markersize=2.5, markeredgewidth=0)
    allowed = [theory.rounding_tolerance(int(batch), eps) / eps for batch in batches]
    ax.plot(range(len(batches)), allowed, "--", color=style.INK, linewidth=1.2)
    ax.set(yscale="log", ylim=(0.7 * FLOOR, 2e3))
    category_axis(ax, batches)


def _draw_graph(ax: Axes) -> None:
    ax.set(xlim=(-1.5, 13.45), ylim=(-0.42, 3.35), xticks=[], yticks=[])
    ax.set_axis_off()
    left, top = PLACES["x"][0] - HALF[0], PLACES["gamma"][1] + HALF[1] + OUT
    ax.text(left, top, CLOSED, fontsize=7, linespacing=1.5, va="top")
    nodes = {node.name: node for node in (*INPUTS, *NODES)}
    for node in nodes.values():
        _draw_node(ax, node)
        for edge in node.edges:
            summed = node.per_example and not nodes[edge.input].per_example
            label = f"{'Σ ' * summed}{edge.shown}"
            _draw_edge(ax, PLACES[edge.input], PLACES[node.name], label)
    for node in (*INPUTS, NODES[-1]):
        place, is_output = PLACES[node.name], node == NODES[-1]
        way = np.array({"x": [-1, 0], "y": [1, 0]}.get(node.name, [0, 1]))
        near, far = place + way * HALF, place + way * (HALF + OUT)
        aside = (APART if is_output else 0) * np.array([0, 1])
        if is_output:
            _draw_arrow(ax, near + aside, far + aside, style.INK)
        last, first = (near, far) if is_output else (far, near)
        _draw_arrow(ax, first - aside, last - aside, style.RED)
        middle = (near + far) / 2 + (LABEL * np.array([1, -1]) * way[::-1]) * (1.8, 1)
        _label(ax, middle, f"∂L/∂{node.symbol}")


def _draw_node(ax: Axes, node: Node) -> None:
    """Draw a box with its name, the shape of its output, and what is computed."""
    place = PLACES[node.name]
    box = FancyBboxPatch(
        place - HALF, 2 * HALF[0], 2 * HALF[1], boxstyle="round,pad=0,rounding_size=0.1",
        linewidth=0.8, facecolor=COMPUTED if node.edges else "white", edgecolor=style.INK,
    )  # fmt: skip
    ax.add_patch(box)
    x, y = place
    left, up = HALF - GAP
    ax.text(x - left, y + up, node.symbol, fontsize=7.5, fontweight="bold", va="top")
    ax.text(x + left, y + up, node.shape, fontsize=6, color=GREY, va="top", ha="right")
    ax.text(x, y - up, node.operation, fontsize=6.5, va="bottom", ha="center")


def _draw_edge(ax: Axes, start: np.ndarray, end: np.ndarray, label: str) -> None:
    """Draw an edge: dark to the end, red and labelled back to the start."""
    along = (end - start) / np.hypot(*(end - start))
    side = np.array([-along[1], along[0]])
    for shift, color in ((APART, style.INK), (-APART, style.RED)):
        first, last = start + shift * side, end + shift * side
        first = first + along * _leaves(first - start, along)
        last = last - along * _leaves(last - end, -along)
        if shift < 0:
            first, last = last, first
        _draw_arrow(ax, first, last, color)
    _label(ax, (start + end) / 2 - LABEL * side * (1 + 0.8 * abs(side[0]), 1), label)


def _leaves(point: np.ndarray, along: np.ndarray) -> float:
    """Return the distance from a point out of the box of a node around 0."""
    with np.errstate(divide="ignore"):
        return float(np.min(np.where(along == 0, np.inf, (np.sign(along) * HALF - point) / along)))


def _draw_arrow(ax: Axes, start: np.ndarray, end: np.ndarray, color: str) -> None:
    (x0, y0), (x1, y1) = start, end
    arrow = FancyArrowPatch(
        (x0, y0), (x1, y1), arrowstyle="-|>,head_length=3,head_width=1.5", color=color,
        linewidth=0.9, shrinkA=0, shrinkB=0,
    )  # fmt: skip
    ax.add_patch(arrow)


def _label(ax: Axes, place: np.ndarray, label: str) -> None:
    x, y = place
    ax.text(x, y, label, fontsize=6.5, color=style.RED, ha="center", va="center")
