"""Scope: which network a verdict is about, in words, from the tables that it rests on."""

from collections.abc import Sequence

from gpubn.errors import StoreError
from gpubn.report import words
from gpubn.report.claims.entries import as_number
from gpubn.report.claims.ledger import Claim
from gpubn.report.claims.measure import Measure, TableReader


def scope(claim: Claim, tables: TableReader) -> str:
    """The network, data and training behind a claim's cases, one part a table; empty if unknown."""
    by_table: dict[str, list[Measure]] = {}
    for wanted in claim.decisive.values():
        by_table.setdefault(wanted.table, []).append(wanted)
    parts = []
    for stem, measures in by_table.items():
        try:
            parts.append(_of_table(_Facts(stem, measures, tables)))
        except StoreError:
            continue
    return "; ".join(dict.fromkeys(part for part in parts if part))


class _Facts:
    """The values that the cells read from one table share, or take one after the other."""

    def __init__(self, stem: str, measures: Sequence[Measure], tables: TableReader) -> None:
        self._config = tables.config(stem)
        self._levels = tables.levels(stem)
        self._measures = measures

    def __call__(self, key: str, axis: str = "") -> list[str]:
        """The values of a key of the configuration, or of the axis that stands for it."""
        values: set[str] = set()
        for measure in self._measures:
            column = axis if axis in self._levels else key
            if column in measure.where:
                values.add(str(measure.where[column]))
            else:
                values |= set(self._levels.get(column, ()))
        if not values and self._config.get(key) not in (None, ""):
            values = {str(self._config[key])}
        numbers = {value: as_number(value) for value in values}
        return sorted(values, key=lambda v: (numbers[v] is None, numbers[v] or 0, v))


def _of_table(facts: _Facts) -> str:
    data = facts("data.name", "data")
    trained = bool(facts("optim.steps")) and "gaussian" not in data
    parts = [_network(facts, trained), *(_training(facts, data) if trained else _input(facts))]
    if seeds := facts("seeds"):
        parts.append(f"{seeds[0]} seeds")
    if backend := facts("backend"):
        parts.append(f"timed on {backend[0]}")
    if rounds := facts("rounds"):
        parts.append(f"{rounds[0]} rounds")
    return ", ".join(part for part in parts if part)


def _network(facts: _Facts, trained: bool) -> str:
    depth, width = facts("model.depth", "depth"), facts("model.width")
    if not width or not depth:
        return ""
    names = [words.ACTIVATIONS.get(a, a) for a in facts("model.activation", "activation")]
    inits = facts("init.name", "init") or [words.KINDS.get(k, k) for k in facts("init.kind")]
    layers = "hidden layer" if trained else "layer"
    plural = "" if depth == ["1"] else "s"
    units = f"{_listed(names)} units" if names else "units"
    text = f"{_listed(depth)} {layers}{plural} of {width[0]} {units}"
    if inits:
        text += f", weights {_listed([words.INITS.get(i, i) for i in inits])}"
    return text if trained else f"{text}, at initialisation"


def _training(facts: _Facts, data: Sequence[str]) -> list[str]:
    parts = [" and ".join(words.DATASETS.get(d, d) for d in data)]
    images = facts("data.train_examples")
    if images not in ([], ["0"]):
        parts.append(f"{_grouped(images[0])} training images a seed")
    steps, batch = facts("optim.steps"), facts("optim.batch", "batch")
    parts.append(f"{_grouped(steps[0])} steps" + (f" of batch {_listed(batch)}" if batch else ""))
    if rates := facts("optim.rate", "rate"):
        shown = f"rate {_listed(rates)}" if len(rates) < 5 else f"rates {rates[0]} to {rates[-1]}"
        parts.append(shown)
    if schedule := facts("optim.schedule"):
        parts.append("falling linearly" if schedule == ["linear"] else "constant")
    return parts


def _input(facts: _Facts) -> list[str]:
    examples = facts("data.examples", "batch")
    return [f"standard normal input, {_span(examples)} examples"] if examples else []


def _listed(values: Sequence[str]) -> str:
    return " or ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def _span(values: Sequence[str]) -> str:
    return _grouped(values[0]) if len(values) == 1 else f"{values[0]} to {_grouped(values[-1])}"


def _grouped(value: str) -> str:
    return f"{int(value):,}" if value.isdigit() else value
