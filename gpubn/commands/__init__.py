"""The commands behind `gpubn` and the scripts of the same names; each module here is one."""

import re
import sys
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version

from gpubn import __version__
from gpubn.errors import ConfigError
from gpubn.extensions import extend, extensions
from gpubn.files import shipped

COMMANDS = {
    "run": "run one cell, or with -m a sweep; takes Hydra's overrides and options",
    "build": "run what is missing, write the tables, decide the claims, draw the figures",
    "claims": "decide the claims from the tables that are there",
    "status": "show which cells of which sweep are done, running, failed or missing",
    "table": "tabulate and plot the finished cells of a sweep; takes its overrides",
    "verify": "run everything again and compare with the tables that were published",
    "freeze": "freeze the ledger, the grids and the code that decides, by a hash and the date",
    "confirm": "run every claim on new seeds and decide it by what is frozen",
    "site": "write pages to read, with every claim and a laboratory, from the tables",
    "universes": "run and decide every claim one factor away from the default",
}
"""Command -> what it does, in a line."""
_USAGE = """\
usage: gpubn COMMAND [ARGUMENTS]

{commands}

What is made goes to the folder results below the current one, unless results=FOLDER (run, table)
or --results FOLDER (the others) names another one. `gpubn COMMAND --help` says what one takes.

  gpubn run experiment=mnist_init norm=none init=he data=digits        one cell
  gpubn run -m experiment=mnist_init optim.rate=0.03,0.1               a sweep
  gpubn table experiment=mnist_init optim.rate=0.03,0.1                its table and a plot
  gpubn build --figure mnist_init_loss                                 a figure and what it needs
"""


def console() -> None:
    """Run the command on the command line: the console script `gpubn`."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "--version"):
        width = max(map(len, COMMANDS))
        lines = "\n".join(f"  {command:{width}}  {does}" for command, does in COMMANDS.items())
        print(__version__ if name == "--version" else _USAGE.format(commands=lines), end="")
        print(end="\n" * (name == "--version"))
    elif name not in COMMANDS:
        sys.exit(f"error: the command is {name!r}; expected one of {', '.join(COMMANDS)}")
    elif lacking := _lacking():
        sys.exit(
            f"error: gpubn {name} needs {', '.join(lacking)}; expected the extra experiments: "
            "pip install 'gpubn[experiments]'"
        )
    else:
        sys.argv = [f"gpubn {name}", *sys.argv[2:]]
        run_command(name)


def run_command(name: str) -> None:
    """Run one command with the arguments in `sys.argv`, as a script does."""
    sys.path.append(str(shipped("scripts")))  # where Hydra finds our plugins in a checkout
    from gpubn.sweeps import cli  # here: it needs the extra

    if name != "run":  # Hydra has a log of its own
        cli.log_to_stderr()
    cli.main(partial(_command, name))


def _command(name: str) -> None:
    if __doc__ is None:
        raise ConfigError(
            "Python runs without docstrings (-OO or PYTHONOPTIMIZE=2), which are the words of "
            "commands and figures; expected -O at most"
        )
    sys.argv[1:] = extend(sys.argv[1:])
    if extensions():
        import_module(f"{__name__}.own").check_extensions()
    import_module(f"{__name__}.{name}").command()


def _lacking() -> list[str]:
    """Return the packages of the extra experiments that are not installed."""
    needed = re.compile(r"([\w.-]+).*extra == .experiments.")
    named = map(needed.match, requires("gpubn") or ())
    return [match[1] for match in named if match and not _is_installed(match[1])]


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
