"""Every experiment's whole grid in a tiny form, and every figure from its tables."""

import json
import math
import re
import shutil
import struct
import xml.etree.ElementTree as ET

import pytest
import step_cost as timing
import yaml
from race.training import TrainingWork, random_images

from gpubn.backend import resolve
from gpubn.experiments import Context
from gpubn.report.figures import drawing as figures
from gpubn.report.figures.style import style
from gpubn.report.tables import read_table
from gpubn.sweeps import compose, pipeline, runner
from gpubn.sweeps.compose import expand
from gpubn.sweeps.stacks import run_stack
from gpubn.sweeps.store.cell_store import CellStore

EXPERIMENTS = sorted(path.stem for path in (compose.CONF / "experiment").glob("*.yaml"))
FIGURES = figures.find()
NUMPY = resolve("numpy")
# Depth stays, as figures pick layers by number; fewer units leave some examples without any.
TINY = ["seeds=2", "optim.steps=6", "every=3", "model.width=32", "data.examples=20"]
# All shapes and depths stay, as the figure picks them by name.
COSTS = timing.Measurement(
    2,
    TrainingWork(random_images(8, 6, 3), steps=1, networks=2, width=4, batch=4),
    trainings=1,
    numbers=1,
)


def swept(experiment):
    document = yaml.safe_load((compose.CONF / "experiment" / f"{experiment}.yaml").read_text())
    return document["hydra"]["sweeper"]["params"]


def tiny(experiment):
    """Overrides for a tiny grid, on the digits where the experiment would take MNIST."""
    kept = [override for override in TINY if override.split("=")[0] not in swept(experiment)]
    text = (compose.CONF / "experiment" / f"{experiment}.yaml").read_text()
    digits = ["data=digits"] if "/data: mnist" in text else []
    return [f"experiment={experiment}", *kept, *digits]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(experiment): the folder of its results and its tables, made once."""
    made = {}

    def once(experiment):
        if experiment not in made:
            results = tmp_path_factory.mktemp(experiment)
            if experiment == timing.STEM:
                path = timing.write_step_cost(results / "benchmarks", COSTS)
                done = pipeline.ExperimentTables([path], results)
            else:
                done = run(experiment, results)
            made[experiment] = results, done
        return made[experiment]

    return once


def run(experiment, results):
    chosen = {experiment: tiny(experiment)}
    return pipeline.make_tables(chosen, results, NUMPY, processes=1)[experiment]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_whole_grid_runs_once(make, name, monkeypatch):
    results, done = make(name)
    cells = expand(tiny(name), results / "plans")
    assert len(cells) == math.prod(len(str(values).split(",")) for values in swept(name).values())
    assert len({cell.id for cell in cells}) == len(cells)
    digits = any(cell.config.data.name == "digits" for cell in cells)
    assert done.folder == (results / "digits" if digits else results)
    assert len(list((results / "cells" / name).iterdir())) == len(cells)

    first, *pooled = done.paths
    assert first == done.folder / "tables" / f"{name}.csv"
    frame = read_table(first)
    assert set(frame["seed"].dropna()) == {0, 1}
    axes = {tuple(row) for row in frame[list(cells[0].axes)].astype(str).to_numpy()}
    assert axes == {tuple(cell.axes.values()) for cell in cells}
    assert len(axes) == len(cells)
    assert not frame.duplicated([*cells[0].axes, "seed", "step", "layer", "metric"]).any()
    for path in pooled:
        assert read_table(path)["seed"].isna().all()
        assert read_table(path)["value"].between(0, 1).all()

    before = {p: p.read_bytes() for path in done.paths for p in (path, path.with_suffix(".json"))}
    assert sorted(before) == sorted((done.folder / "tables").iterdir())
    monkeypatch.setattr(compose.Grid, "_cells", lambda _: pytest.fail("composed again"))
    monkeypatch.setattr(runner, "run_stack", lambda *_: pytest.fail("a cell ran again"))
    assert run(name, results) == done
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_alone_a_cell_has_the_bits_that_it_has_in_its_grid(make, name):
    results, _ = make(name)
    cells = expand(tiny(name), results / "plans")
    store = CellStore(results / "cells")
    for cell in cells[:: max(1, len(cells) // 3)]:
        (rows,) = run_stack([cell.config], Context(NUMPY))
        assert repr(rows) == repr(store.get(cell).rows)


# Figures ------------------------------------------------------------------------------------------


def made_by(script):
    """The experiments whose tables a figure reads, that which it is named after first."""
    return list(dict.fromkeys(stem.removesuffix("_pooled") for stem in script.tables))


@pytest.fixture(scope="module")
def gathered(make, tmp_path_factory):
    """gathered(script): a folder of results that holds all tables that the figure reads."""

    def gather(script):
        together = tmp_path_factory.mktemp(script.name)
        for experiment in made_by(script):
            tables = make(experiment)[1].paths[0].parent
            shutil.copytree(tables, together / tables.name, dirs_exist_ok=True)
        return together

    return gather


def table(folder, stem):
    (path,) = folder.glob(f"*/{stem}.csv")
    return path


@pytest.mark.parametrize("script", FIGURES, ids=lambda script: script.name)
def test_every_figure_is_composed_of_its_tables(gathered, script):
    assert script.experiment == script.tables[0] == made_by(script)[0]
    assert set(made_by(script)) <= {*EXPERIMENTS, timing.STEM}
    folder = gathered(script)
    tables = {stem: read_table(table(folder, stem)) for stem in script.tables}
    with style():
        figure = figures.compose(script, tables)
        figure.draw_without_rendering()
    assert sum(ax.has_data() for ax in figure.axes) > 0
    texts = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    digits = any("digits" in set(t["data"]) for t in tables.values() if "data" in t)
    if script.experiment != timing.STEM:
        assert bool(re.search("digits.*NOT MNIST", texts)) == digits


@pytest.mark.parametrize("script", FIGURES[::10], ids=lambda script: script.name)
def test_the_files_of_a_figure_have_the_same_bytes_until_anything_under_them_changes(
    gathered, script
):
    folder = gathered(script)
    figures.draw(script, folder)
    base = folder / "figures" / script.name
    png, svg, provenance = (base.with_suffix(kind) for kind in (".png", ".svg", ".json"))
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert png.read_bytes().endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    assert (width > 500, height > 300) == (True, True)
    drawing = ET.fromstring(svg.read_text())
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}path")) > 20
    document = json.loads(provenance.read_text())
    assert set(document["made_from"]["tables"]) == set(script.tables)

    before = [path.read_bytes() for path in (png, svg, provenance)]
    figures.draw(script, folder)
    assert [path.read_bytes() for path in (png, svg, provenance)] == before
    for path in (png, svg, provenance, table(folder, script.tables[0])):
        sound = path.read_bytes()
        path.write_bytes(sound.replace(b"1", b"2", 1) + b"x")
        assert not figures.is_current(script, folder)
        path.unlink()
        assert not figures.is_current(script, folder)
        path.write_bytes(sound)
        assert figures.is_current(script, folder)
