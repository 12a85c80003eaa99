"""The computation graph against the operations that its nodes stand for."""

from math import prod

import numpy as np
import pytest

from gpubn.computation_graph import INPUTS, NODES
from gpubn.kernels import batch_norm

N, D, EPS = 5, 3, 0.1
OPERATIONS = {
    "mean": lambda x, counts: x.sum(axis=0, keepdims=True) / counts["N"],
    "centred": lambda x, mean, counts: x - mean,
    "square": lambda centred, counts: centred * centred,
    "var": lambda square, counts: square.sum(axis=0, keepdims=True) / counts["m"],
    "std": lambda var, counts: np.sqrt(var + EPS),
    "inv_std": lambda std, counts: 1 / std,
    "x_hat": lambda centred, inv_std, counts: centred * inv_std,
    "scaled": lambda x_hat, gamma, counts: x_hat * gamma,
    "y": lambda scaled, beta, counts: scaled + beta,
}


def walked(rng, correction):
    """Counts, and the value of every name, computed in the order of the nodes."""
    counts = {"N": N, "m": N - correction, "": 1}
    values = {n.name: rng.normal(size=(N if n.per_example else 1, D)) + 2 for n in INPUTS}
    for node in NODES:
        inputs = {edge.input: values[edge.input] for edge in node.edges}
        values[node.name] = OPERATIONS[node.name](**inputs, counts=counts)
    return counts, values


@pytest.mark.parametrize("correction", [0, 1])
def test_the_graph_computes_batch_norm(rng, correction):
    _, values = walked(rng, correction)
    parameters = (values["gamma"][0], values["beta"][0])
    y, cache = batch_norm(values["x"], *parameters, eps=EPS, correction=correction)
    np.testing.assert_allclose(values[NODES[-1].name], y, rtol=1e-12)
    for name in ("x_hat", "inv_std"):
        np.testing.assert_allclose(values[name], getattr(cache, name), rtol=1e-12)
    for node in (*INPUTS, *NODES):
        assert values[node.name].shape == (N if node.per_example else 1, D)
        assert node.shape == ("N × D" if node.per_example else "1 × D")


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_every_derivative_is_that_of_its_operation(rng, node):
    counts, values = walked(rng, 1)
    for edge in node.edges:
        moved = {other.input: values[other.input].astype(complex) for other in node.edges}
        moved[edge.input][0, 0] += 1e-30j
        numeric = OPERATIONS[node.name](**moved, counts=counts)[0, 0].imag / 1e-30
        factors = [values[name][0, 0] for name in edge.values]
        assert edge.factor * prod(factors) / counts[edge.per] == pytest.approx(numeric, rel=1e-12)
        assert edge.factor in (1, -1, 2, 0.5)  # which multiply without rounding


def test_what_is_drawn_is_what_is_walked():
    """The text of a derivative has its sign, its number, its values and what divides it."""
    symbols = {node.name: node.symbol for node in (*INPUTS, *NODES)}
    for edge in (edge for node in NODES for edge in node.edges):
        names = "".join(symbols[name] for name in dict.fromkeys(edge.values))
        power = "²" * (len(edge.values) - len(set(edge.values)))
        above = f"{'2' * (edge.factor == 2)}{names}{power}" or "1"
        below = edge.per or "2" * (edge.factor == 0.5)
        assert edge.shown == f"{'−' * (edge.factor < 0)}{above}{'/' * bool(below)}{below}"
