"""Keep of lock files what `cpu.txt` beside them lacks; they take that in by `-r`."""

import re
import sys
from pathlib import Path


def blocks(text: str) -> list[str]:
    """Return the requirements of a lock file, each with its hashes."""
    return re.findall(r"^[^\s#-].*\n(?:    .*\n)*", text, re.M)


def main() -> None:
    """Rewrite the files that are named, in the folder of this script."""
    folder = Path(__file__).parent
    known = {*blocks((folder / "cpu.txt").read_text())}
    for name in sys.argv[1:]:
        file = folder / name
        more = [block for block in blocks(file.read_text()) if block not in known]
        file.write_text("".join(["-r cpu.txt\n", *more]))


if __name__ == "__main__":
    main()
