"""Execute the notebooks for teaching, and write them with all that they show."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gpubn.errors import CellError, GpubnError, require
from gpubn.files import write_atomic

FOLDER = Path(__file__).parent
NOTEBOOKS = tuple(sorted(path.stem for path in FOLDER.glob("*_*.py")))
MOST = 600
"""Seconds that the cells of a notebook may take; a fifteenth in short form."""
_STATES = "application/vnd.jupyter.widget-state+json"


def executed(path: Path, folder: Path) -> Any:
    """Return a notebook (percent script) after all its cells have been run in `folder`.

    Raises:
        CellError: a cell failed, or they took too long.
        ExtraError: the extra notebooks is not installed.
    """
    require("a notebook", "notebooks", ("ipykernel", "ipywidgets", "jupytext", "nbclient"))
    import jupytext
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    seconds = MOST / 15 if os.environ.get("GPUBN_NOTEBOOKS") == "short" else MOST
    notebook = jupytext.read(path)
    client = NotebookClient(
        notebook,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        asyncio.run(_run(client, seconds))
    except CellExecutionError as error:
        raise _failed(path, error) from error
    except TimeoutError as error:
        late = SimpleNamespace(ename="timeout", evalue=f"{seconds:.0f} s")
        raise _failed(path, late) from error
    for output in behind_sliders(notebook):
        if output["output_type"] == "error":
            raise _failed(path, SimpleNamespace(**output))
    return notebook


async def _run(client: Any, seconds: float) -> None:
    """Run all cells; their time counts from when the kernel is ready.

    Raises:
        TimeoutError: it is over.
    """
    from nbclient.exceptions import DeadKernelError

    async with client.async_setup_kernel():
        _look_after_sending(client.kc.shell_channel)
        try:
            async with asyncio.timeout(seconds) as limit:
                await client.async_execute(cleanup_kc=False)
        except DeadKernelError as error:  # so it is called when waiting is cancelled, too
            if limit.expired():
                raise TimeoutError from error
            raise


def _look_after_sending(channel: Any) -> None:
    """Let a channel look for what has come whenever something was sent.

    A widget's state is sent while a cell's answer is waited for. Where that comes just before, the
    sending takes the only sign of it, as a socket gives one for each change of its state, and the
    answer would lie there for ever. To ask for the state hands on what has come.
    """
    import zmq

    send = channel.send

    def send_and_look(message: Any) -> None:
        send(message)
        channel.socket.get(zmq.EVENTS)

    channel.send = send_and_look


def behind_sliders(notebook: Any) -> Iterator[Any]:
    """Yield what the functions behind sliders have shown: an error there stops no cell."""
    kept = notebook.metadata.get("widgets", {}).get(_STATES, {}).get("state", {})
    for widget in kept.values():
        yield from widget["state"].get("outputs", ())


def _failed(path: Path, error: Any) -> CellError:
    return CellError(
        f"a cell of {path.name} failed ({error.ename}: {error.evalue}); expected one that runs"
    )


def main() -> None:
    """Execute all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="all where none is named", metavar="NAME")
    parser.add_argument("--results", type=Path, default=Path("results"), help="notebooks go there")
    options = parser.parse_args()
    folder = options.results / "notebooks"
    try:
        if unknown := [name for name in options.names if name not in NOTEBOOKS]:
            raise GpubnError(
                f"the notebook is {unknown[0]!r}; expected one of {', '.join(NOTEBOOKS)}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.names or NOTEBOOKS:
            print(f"{name}: executing", end="", flush=True)
            started = time.perf_counter()
            notebook = executed(FOLDER / f"{name}.py", folder)
            import nbformat

            write_atomic(folder / f"{name}.ipynb", nbformat.writes(notebook).encode())
            print(f", {time.perf_counter() - started:.0f} s, {folder / name}.ipynb")
    except GpubnError as error:
        sys.exit(f"\nerror: {error}")


if __name__ == "__main__":
    main()
