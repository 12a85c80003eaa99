"""The files of the ledger as they are written, for pages that show the rule itself."""

import re
from collections.abc import Iterable
from pathlib import Path


def entries_of(path: Path) -> Iterable[tuple[str, str]]:
    """Return id and text of each entry of a file of the ledger."""
    text = path.read_text("utf-8")
    for part in re.split(r"(?m)^(?=\s*- id: )", text)[1:]:
        found = re.match(r"\s*- id: (\S+)", part)
        if found:
            lines = part.rstrip().splitlines()
            indent = len(lines[0]) - len(lines[0].lstrip())
            yield found[1].strip("'\""), "\n".join(line[indent:] for line in lines)


def selections_of(path: Path) -> dict[str, str]:
    """Return the line of each selection at the head of a file of the ledger, by its name."""
    head = path.read_text("utf-8").partition("\nclaims:")[0].partition("\nselections:")[2]
    return {m[1]: m[0].strip() for m in re.finditer(r"(?m)^  (\w+): .*$", head)}
