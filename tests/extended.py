"""The extension of gpubn/EXTENDING.md: its blocks are its files."""

import re
from pathlib import Path

import gpubn

PAGE = Path(gpubn.__file__).with_name("EXTENDING.md")
FILES = dict(re.findall(r"`mine/([\w/.]+)`[^`]*\n\n```\w+\n(.*?)```", PAGE.read_text(), re.S))
EXPERIMENT = FILES["conf/experiment/own.yaml"]
FIGURE = FILES["figures/own_losses.py"]
LEDGER = FILES["ledger/E.yaml"]


def write_extension(folder, files=FILES):
    """Write the files below a folder, and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
