"""PyTorch as a peer in training: eager, as its users write it, and a whole step as a graph."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpubench.clock import Site
from gpubench.peers_torch import capture, torch_for

_WARM_UPS = 3


class TorchTraining:
    """One network of `torch.nn` and `torch.optim.SGD`; see `gpubench.training.Trainer`.

    Args:
        start: "weight0", "bias0", "gamma", "beta", "weight1" and "bias1".
        order: (steps, batch), which rows of the data each step takes.
        graph: whether a step, from gathering to the update, is captured once and replayed.
    """

    def __init__(
        self,
        start: Mapping[str, np.ndarray],
        x: np.ndarray,
        labels: np.ndarray,
        order: np.ndarray,
        rate: float,
        site: Site,
        *,
        graph: bool,
    ) -> None:
        torch = self._torch = torch_for(site)
        self._x, self._labels, self._order = (
            torch.from_numpy(np.array(a)).to(site.torch_device) for a in (x, labels, order)
        )
        self._model = _network(torch, start).to(site.torch_device)
        self._sgd = torch.optim.SGD(self._model.parameters(), lr=rate)
        self._loss = torch.nn.functional.cross_entropy
        self._at = torch.zeros(1, dtype=torch.int64, device=site.torch_device)
        self._losses = torch.zeros(len(order), device=site.torch_device)
        self._graph = self._capture(site) if graph else None

    def train(self) -> Any:
        if self._graph is None:
            return self._torch.stack([self._step(rows) for rows in self._order])
        self._at.zero_()
        for _ in range(len(self._order)):
            self._graph.replay()
        return self._losses

    def wait(self, out: Any) -> None:
        """The clock sees the stream."""

    def host(self, out: Any) -> np.ndarray:
        found: np.ndarray = out.cpu().numpy()
        return found

    def _step(self, rows: Any) -> Any:
        loss = self._loss(self._model(self._x[rows]), self._labels[rows])
        self._sgd.zero_grad()
        loss.backward()
        self._sgd.step()
        return loss.detach()

    def _capture(self, site: Site) -> Any:
        """Capture a step that finds its place in the order by itself."""
        kept = {name: value.clone() for name, value in self._model.state_dict().items()}

        def step() -> None:
            rows = self._order.index_select(0, self._at).view(-1)
            loss = self._step(rows)
            self._losses.index_copy_(0, self._at, loss.view(1))
            self._at.add_(1)

        def warm_up() -> None:
            for _ in range(min(_WARM_UPS, len(self._order))):
                step()
            self._sgd.zero_grad()

        graph = capture(self._torch, site, step, warm_up)
        with self._torch.no_grad():
            for name, value in self._model.state_dict().items():
                value.copy_(kept[name])
        return graph


def _network(torch: Any, start: Mapping[str, np.ndarray]) -> Any:
    features, units = start["weight0"].shape
    classes = start["weight1"].shape[1]
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(features, units), nn.BatchNorm1d(units), nn.Tanh(), nn.Linear(units, classes)
    )
    with torch.no_grad():
        for i, name in ((0, "0"), (3, "1")):
            model[i].weight.copy_(torch.from_numpy(start[f"weight{name}"].T.copy()))
            model[i].bias.copy_(torch.from_numpy(start[f"bias{name}"]))
        model[1].weight.copy_(torch.from_numpy(start["gamma"]))
        model[1].bias.copy_(torch.from_numpy(start["beta"]))
    return model
