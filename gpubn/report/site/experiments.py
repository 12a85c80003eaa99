"""The pages of the experiments: what is varied, on how many seeds, and who reads the table."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import yaml

from gpubn.errors import SiteError
from gpubn.files import shipped
from gpubn.report import words
from gpubn.report.site.page import Page
from gpubn.report.site.source import SiteSource

_SHOWN = {
    "data.name": "data",
    "data.train_examples": "training images a seed",
    "data.examples": "examples",
    "model.depth": "hidden layers",
    "model.width": "units a layer",
    "model.activation": "activation",
    "init.kind": "weights",
    "norm.placement": "batchnorm",
    "optim.steps": "steps",
    "optim.batch": "batch",
    "optim.rate": "rate",
    "optim.schedule": "schedule of the rate",
    "optim.momentum": "momentum",
    "dtype": "numbers",
    "seeds": "seeds",
}
"""Keys of a configuration that a page shows where all cells share them -> what they are called."""
_NAMED = {"model": words.NETWORKS, "init": words.INITS, "model.activation": words.ACTIVATIONS}


def pages(source: SiteSource) -> Iterable[Page]:
    """Return the list of experiments and the page of each."""
    found = {name: _about(source, name) for name in source.experiments}
    yield Page(
        "experiments/index.html",
        "experiments.html.jinja",
        "Experiments",
        "What was run: one table an experiment, from which figures are drawn and claims decided.",
        {"experiments": found},
    )
    names = list(found)
    for place, (name, about) in enumerate(found.items()):
        yield Page(
            f"experiments/{name}.html",
            "experiment.html.jinja",
            name,
            about["says"] or f"The experiment {name}: grid, arms, seeds, figures and claims.",
            {
                **about,
                "previous": names[place - 1] if place else None,
                "following": names[place + 1] if place + 1 < len(names) else None,
            },
        )


def _about(source: SiteSource, name: str) -> dict[str, Any]:
    made, stems = source.experiments[name], (name, f"{name}_pooled", f"{name}_tuning")
    config, constants = made.get("config", {}), made.get("constants", {})
    quick = _settings(f"experiment/{name}")
    full = _settings(f"experiment/full/{name}")
    kinds = ((source.results, "quick"), (source.results / "full", "full"))
    places = [
        (f"{kind} grid", source.downloads[path])
        for folder, kind in kinds
        for stem in stems
        if (path := folder / "tables" / f"{stem}.csv") in source.downloads
    ]
    claims = [c for c in source.ledger.claims.values() if {*c.tables} & {*stems}]
    return {
        "name": name,
        "says": quick["says"],
        "grid": quick["grid"],
        "full": full if full["there"] else None,
        "seeds": config.get("seeds"),
        "cells": len(made.get("cells", {})),
        "made": made,
        "shared": {
            said: _word(key, value)
            for key, said in _SHOWN.items()
            if (value := config.get(key, constants.get(key))) not in (None, "", "none", 0, 0.0)
        },
        "pictures": [p for p in source.pictures.values() if {*p.script.tables} & {*stems}],
        "full_pictures": [p for p in source.full_pictures if {*p.script.tables} & {*stems}],
        "claims": [(claim.id, claim.text, source.decisions[claim.id].word) for claim in claims],
        "downloads": places,
        "yaml": quick["text"],
    }


def _word(key: str, value: object) -> str:
    text = str(value)
    if key == "data.name":
        return {"gaussian": "standard normal input", **words.DATASETS}.get(text, text)
    if key == "init.kind":
        return words.INITS.get(words.KINDS.get(text, text), text)
    return words.ACTIVATIONS.get(text, text) if key == "model.activation" else text


@cache
def _settings(place: str) -> dict[str, Any]:
    """Return what an experiment's file says, its grid, and its text; an empty grid without file."""
    path = shipped("conf") / f"{place}.yaml"
    if not path.exists():
        return {"there": False, "says": "", "grid": [], "text": "", "differs": {}}
    text = path.read_text("utf-8")
    try:
        read = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SiteError(f"{path} is no YAML ({' '.join(str(error).split())})") from error
    hydra = read.pop("hydra", {})
    params = hydra.get("sweeper", {}).get("params", {})
    comments = re.findall(r"(?m)^# (?!@package)(.*)$", text.partition("\ndefaults:")[0])
    return {
        "there": True,
        "says": " ".join(comments),
        "grid": [_axis(key, str(levels)) for key, levels in params.items()],
        "differs": _flat({k: v for k, v in read.items() if k not in ("defaults", "name")}),
        "text": text,
    }


def _axis(key: str, levels: str) -> dict[str, Any]:
    """Return an axis of a grid and its levels, in words where there are some."""
    parts = [part.strip() for part in levels.split(",") if part.strip()]
    named = _NAMED.get(key, {})
    said = _norms() if key == "norm" else named
    return {"key": key, "levels": [(part, said.get(part, "")) for part in parts]}


@cache
def _norms() -> Mapping[str, str]:
    """Return what the files of the normalisations say of them."""
    found = {"none": "no normalisation"}
    for path in sorted((shipped("conf") / "norm").glob("*.yaml")):
        said = re.search(r"(?m)^# (?!@package)(.*?)\.?$", path.read_text("utf-8"))
        if said:
            found.setdefault(path.stem, said[1])
    return found


def _flat(settings: Mapping[str, Any], under: str = "") -> dict[str, str]:
    """Return nested settings as one mapping from keys with dots."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{under}{key}.")
        else:
            found[f"{under}{key}"] = str(value)
    return found
