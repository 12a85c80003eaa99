"""Every experiment's whole grid in a tiny form, and every figure from its tables."""

import math
import re
import shutil

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

FILES = {path.stem: path.read_text() for path in (compose.CONF / "experiment").glob("*.yaml")}
FIGURES = [script for script in figures.find() if script.name != "universes"]
NUMPY = resolve("numpy")
# Depth stays, as figures pick layers by number; fewer units leave some examples without any.
TINY = ["seeds=2", "optim.steps=6", "every=3", "model.width=32", "data.examples=20"]
# All shapes and depths stay, as the figure picks them by name.
WORK = TrainingWork(random_images(8, 6, 3), steps=1, networks=2, width=4, batch=4)
COSTS = timing.Measurement(2, WORK, trainings=1, numbers=1)


def swept(experiment):
    return yaml.safe_load(FILES[experiment])["hydra"]["sweeper"]["params"]


def tiny(experiment):
    """Overrides for a tiny grid, on the digits where the experiment would take MNIST."""
    kept = [override for override in TINY if override.split("=")[0] not in swept(experiment)]
    digits = ["data=digits"] if "/data: mnist" in FILES[experiment] else []
    return [f"experiment={experiment}", *kept, *digits]


def run(experiment, results):
    chosen = {experiment: tiny(experiment)}
    return pipeline.make_tables(chosen, results, NUMPY, processes=1)[experiment]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(experiment): the folder of its results and its tables, made once."""
    made, timed = {}, {stem: name for name, stem in timing.STEMS.items()}

    def once(experiment):
        if experiment not in made:
            results = tmp_path_factory.mktemp(experiment)
            if experiment in timed:
                path = timing.write_step_cost(results / "benchmarks", COSTS, timed[experiment])
                made[experiment] = results, pipeline.ExperimentTables([path], results)
            else:
                made[experiment] = results, run(experiment, results)
        return made[experiment]

    return once


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_whole_grid_runs_once_with_the_bits_of_each_cell_alone(make, name, monkeypatch):
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

    for cell in cells[:: max(1, len(cells) // 3)]:
        (rows,) = run_stack([cell.config], Context(NUMPY))
        assert repr(rows) == repr(CellStore(results / "cells").get(cell).rows)

    before = {p: p.read_bytes() for path in done.paths for p in (path, path.with_suffix(".json"))}
    assert sorted(before) == sorted((done.folder / "tables").iterdir())
    monkeypatch.setattr(compose.Grid, "_cells", lambda _: pytest.fail("composed again"))
    monkeypatch.setattr(runner, "run_stack", lambda *_: pytest.fail("a cell ran again"))
    assert run(name, results) == done
    assert {p: p.read_bytes() for p in before} == before


# Figures ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gathered(make, tmp_path_factory):
    """gathered(script): a folder of results with all tables that the figure reads, by name."""

    def gather(script):
        together = tmp_path_factory.mktemp(script.name)
        for experiment in {stem.removesuffix("_pooled") for stem in script.tables}:
            tables = make(experiment)[1].paths[0].parent
            shutil.copytree(tables, together / tables.name, dirs_exist_ok=True)
        return together, {path.stem: path for path in together.glob("*/*.csv")}

    return gather


@pytest.mark.parametrize("script", FIGURES, ids=lambda script: script.name)
def test_every_figure_is_composed_of_its_tables(gathered, script):
    assert script.experiment == script.tables[0]
    _, paths = gathered(script)
    tables = {stem: read_table(paths[stem]) for stem in script.tables}
    with style():
        sheet = figures.compose(script, tables)
        sheet.finish()
        figure = sheet.figure
    assert sum(ax.has_data() for ax in figure.axes) > 0
    texts = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    digits = any("digits" in set(t["data"]) for t in tables.values() if "data" in t)
    if script.experiment != timing.STEM:
        assert bool(re.search("digits.*NOT MNIST", texts)) == digits
