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
from gpubn.report.figures import drawing as figures
from gpubn.report.figures import style as plotting
from gpubn.report.tables import read_table
from gpubn.sweeps import compose, pipeline, runner
from gpubn.sweeps.compose import expand

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


def tiny(experiment):
    """Overrides for a tiny grid, on the digits where the experiment would take MNIST."""
    text = (compose.CONF / "experiment" / f"{experiment}.yaml").read_text()
    swept = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    kept = [override for override in TINY if override.split("=")[0] not in swept]
    return [*kept, "data=digits"] if "/data: mnist" in text else kept


def run(experiment, results, overrides):
    chosen = {experiment: [f"experiment={experiment}", *overrides]}
    return pipeline.make_tables(chosen, results, NUMPY, processes=1)[experiment]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """make(experiment): its tables, made once."""
    made = {}

    def once(experiment):
        if experiment == timing.STEM and experiment not in made:
            results = tmp_path_factory.mktemp(experiment)
            path = timing.write_step_cost(results / "benchmarks", COSTS)
            made[experiment] = results, pipeline.ExperimentTables([path], results)
        if experiment not in made:
            results = tmp_path_factory.mktemp(experiment)
            overrides = tiny(experiment)
            done = run(experiment, results, overrides)
            made[experiment] = results, done
        return made[experiment]

    return once


def made_by(script):
    """The experiments whose tables a figure reads, that which it is named after first."""
    return list(dict.fromkeys(stem.removesuffix("_pooled") for stem in script.tables))


@pytest.fixture(scope="module")
def gathered(make, tmp_path_factory):
    """gathered(script): the folder of results that holds all tables that the figure reads."""

    def gather(script):
        folders = [make(experiment)[1].folder for experiment in made_by(script)]
        if len(folders) == 1:
            return folders[0]
        together = tmp_path_factory.mktemp(script.name)
        for folder in folders:
            shutil.copytree(folder / "tables", together / "tables", dirs_exist_ok=True)
        return together

    return gather


@pytest.fixture(scope="module")
def drawn(gathered):
    """drawn(script): the folder of results with the figure in it, drawn once, and its texts."""
    done, found = {}, []

    def spy(figure):
        found[:] = [text.get_text() for text in figure.texts]
        return render(figure)

    def once(script):
        if script.name not in done:
            folder = gathered(script)
            figures.draw(script, folder)
            done[script.name] = folder, " ".join(" ".join(found).split())
        return done[script.name]

    render = plotting.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "render", spy)
        yield once


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_whole_grid_runs(make, name):
    results, done = make(name)
    cells = expand([f"experiment={name}", *tiny(name)], results / "plans")
    digits = any(cell.config.data.name == "digits" for cell in cells)
    assert done.folder == (results / "digits" if digits else results)
    assert len(list((results / "cells" / name).iterdir())) == len(cells)
    assert done.paths[0] == done.folder / "tables" / f"{name}.csv"
    frame = read_table(done.paths[0])
    assert set(frame["seed"].dropna()) == {0, 1}
    axes = {tuple(row) for row in frame[list(cells[0].axes)].astype(str).to_numpy()}
    assert axes == {tuple(cell.axes.values()) for cell in cells}
    keys = [*cells[0].axes, "seed", "step", "layer", "metric"]
    assert not frame.duplicated(keys).any()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_grid_is_the_product_of_its_axes(make, name):
    document = yaml.safe_load((compose.CONF / "experiment" / f"{name}.yaml").read_text())
    axes = document["hydra"]["sweeper"]["params"].values()
    cells = expand([f"experiment={name}", *tiny(name)], make(name)[0] / "plans")
    assert len(cells) == math.prod(len(str(values).split(",")) for values in axes)
    assert len({cell.id for cell in cells}) == len(cells)
    assert len({tuple(cell.axes.values()) for cell in cells}) == len(cells)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_pooled_rows_are_shares(make, name):
    for path in make(name)[1].paths[1:]:
        frame = read_table(path)
        assert frame["seed"].isna().all()
        assert frame["value"].between(0, 1).all()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_second_time_nothing_runs_and_no_byte_changes(make, name, monkeypatch):
    results, done = make(name)
    before = {p: p.read_bytes() for path in done.paths for p in (path, path.with_suffix(".json"))}
    monkeypatch.setattr(compose.Grid, "_cells", lambda _: pytest.fail("composed again"))
    monkeypatch.setattr(runner, "Context", lambda *_: pytest.fail("a cell ran"))
    again = run(name, results, tiny(name))
    assert again == done
    assert {p: p.read_bytes() for p in before} == before


def digests(results):
    """The digest of each cell's rows, in all their digits."""
    files = (results / "cells").glob("*/*.json")
    return {path.name: json.loads(path.read_bytes())["digest"] for path in files}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_run_from_nothing_and_cell_by_cell_there_are_the_same_bytes(
    make, name, tmp_path, monkeypatch
):
    results, done = make(name)
    shutil.copytree(results / "plans", tmp_path / "plans")
    monkeypatch.setattr(
        runner, "split_into_stacks", lambda cells, backend: [[cell] for cell in cells]
    )
    anew = run(name, tmp_path, tiny(name))
    assert digests(tmp_path) == digests(results) != {}
    assert [p.read_bytes() for p in anew.paths] == [p.read_bytes() for p in done.paths]
    assert sorted(path.name for path in (anew.folder / "tables").iterdir()) == sorted(
        p.with_suffix(kind).name for p in anew.paths for kind in (".csv", ".json")
    )


@pytest.mark.parametrize("script", FIGURES, ids=lambda script: script.name)
def test_every_figure_is_drawn(drawn, script):
    folder, _ = drawn(script)
    base = folder / "figures" / script.name
    png = base.with_suffix(".png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    assert width > 500
    assert height > 300
    svg = ET.fromstring(base.with_suffix(".svg").read_text())
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}path")) > 20
    document = json.loads(base.with_suffix(".json").read_text())
    assert set(document["made_from"]["tables"]) == set(script.tables)
    assert figures.is_current(script, folder)


@pytest.mark.parametrize("script", FIGURES, ids=lambda script: script.name)
def test_drawn_twice_it_has_the_same_bytes(drawn, script):
    folder, _ = drawn(script)
    files = [folder / "figures" / f"{script.name}.{kind}" for kind in ("svg", "png", "json")]
    before = [path.read_bytes() for path in files]
    figures.draw(script, folder)
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    "script", [s for s in FIGURES if s.experiment != timing.STEM], ids=lambda script: script.name
)
def test_a_figure_made_from_digits_says_so(drawn, script):
    folder, texts = drawn(script)
    tables = [read_table(folder / "tables" / f"{stem}.csv") for stem in script.tables]
    made_from_digits = any("digits" in set(t["data"]) for t in tables if "data" in t)
    assert bool(re.search("digits.*NOT MNIST", texts)) == made_from_digits


@pytest.mark.parametrize("script", FIGURES, ids=lambda script: script.name)
def test_every_figure_belongs_to_an_experiment_or_the_timing(script):
    assert script.experiment == script.tables[0] == made_by(script)[0]
    assert set(made_by(script)) <= {*EXPERIMENTS, timing.STEM}


def test_a_figure_is_stale_when_anything_under_it_changed(drawn):
    script = FIGURES[0]
    folder, _ = drawn(script)
    for path in (
        folder / "figures" / f"{script.name}.png",
        folder / "figures" / f"{script.name}.svg",
        folder / "figures" / f"{script.name}.json",
        folder / "tables" / f"{script.tables[0]}.csv",
    ):
        before = path.read_bytes()
        path.write_bytes(before.replace(b"1", b"2", 1) + b"x")
        assert not figures.is_current(script, folder)
        path.unlink()
        assert not figures.is_current(script, folder)
        path.write_bytes(before)
        assert figures.is_current(script, folder)
