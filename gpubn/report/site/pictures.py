"""Figures that are drawn, with the words beside them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpubn.errors import SiteError
from gpubn.report.figures import drawing


@dataclass(frozen=True)
class Picture:
    """A figure that is drawn: where its SVG is, and what it says."""

    script: drawing.FigureScript
    file: Path
    title: str
    caption: str
    alt: str
    in_full: bool = False
    width: int = 0
    height: int = 0

    @property
    def name(self) -> str:
        """The name of the figure."""
        return self.script.name

    @property
    def path(self) -> str:
        """Its place in the site."""
        return f"figures/{'full/' * self.in_full}{self.name}.svg"


def find_pictures(results: Path, *, in_full: bool = False) -> Iterator[Picture]:
    """Yield our figures that are drawn in a results folder.

    Args:
        in_full: those of full grids that are drawn from what is small enough to be kept.

    Raises:
        SiteError: what one shows is not said beside it.
    """
    folder = results / "full" / "figures" if in_full else results / "figures"
    for script in drawing.find():
        if script.extension is None and (script.from_small or not in_full):
            base = folder / script.name
            if base.with_suffix(".svg").exists():
                yield _picture(script, base, in_full)


def _picture(script: drawing.FigureScript, base: Path, in_full: bool) -> Picture:
    path = base.with_suffix(".json")
    try:
        said = json.loads(path.read_bytes())
        words = {key: str(said[key]) for key in ("title", "caption", "alt")}
        with base.with_suffix(".svg").open("rb") as file:
            head = file.read(2000).decode(errors="replace")
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
        size = [round(float(side)) for side in box.groups()] if box else [0, 0]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SiteError(
            f"{path} does not say what the figure {script.name} shows ({error}); expected title, "
            "caption and alt, which `gpubn build --redraw` writes"
        ) from error
    width, height = size
    return Picture(
        script, base.with_suffix(".svg"), **words, in_full=in_full, width=width, height=height
    )
