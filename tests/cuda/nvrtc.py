"""Compiles the CUDA sources for any architecture by NVRTC, which needs no GPU.

It says what a compiler can say of a kernel: that it compiles without warnings, how many registers
it takes, and whether they spill. What a kernel computes, `tests.cuda.shim` tells.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gpubn.kernels.cuda import source

_COMMON = Path(source.__file__).with_name("common.cuh")
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_WARNING = re.compile(r"\bwarning\b(?: #(?P<number>[\w-]+))?\s*:\s*(?P<text>.*)")
_UNUSED = re.compile(r'variable "(\w+)" was declared but never referenced')


@dataclass(frozen=True)
class Resources:
    """What one kernel takes.

    Attributes:
        kernel: its name as asked for, with template arguments.
        registers: of one thread.
        stack_bytes: local memory of one thread: arrays that are indexed, and what is spilt.
        spill_bytes: stored and loaded again because registers ran out.
        ptx: its code, and that of the functions which were not inlined.
    """

    kernel: str
    registers: int
    stack_bytes: int
    spill_bytes: int
    ptx: str = field(repr=False)


@cache
def problem() -> str:
    """Why NVRTC cannot be used here; empty where it can."""
    try:
        from cuda.bindings import nvrtc
        from cuda.core import Program  # noqa: F401

        nvrtc.nvrtcGetSupportedArchs()
    except (ImportError, RuntimeError) as error:  # cuda-pathfinder finds no library
        why = str(error).splitlines()[0]
        return f"NVRTC cannot be used: {why}; `make extras` installs it"
    return ""


def compile_text(
    text: str, kernels: Sequence[str], arch: int, *, name: str = "source.cu"
) -> list[Resources]:
    """Compile kernels of a source, with the option that a device compiles them with.

    Args:
        text: the source.
        kernels: names with template arguments.
        arch: a compute capability, 90 for 9.0.
        name: what messages call the source.

    Raises:
        RuntimeError: NVRTC cannot be used, fails, or warns of anything but a constant of
            common.cuh that the source does not use.
    """
    if problem():
        raise RuntimeError(problem())
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(name=name, std="c++17", arch=f"sm_{arch}", ptxas_options=["-v"])
    logs = io.StringIO()
    try:
        program = Program(text, "c++", options)
        code = program.compile("cubin", name_expressions=list(kernels), logs=logs)
    except Exception as error:  # of a class that cuda.core keeps to itself; it holds the log
        failure = _clean(str(error))
        raise RuntimeError(f"{name} does not compile for sm_{arch}:\n{failure}") from error
    log = _clean(logs.getvalue())
    if warnings := _warnings(log):
        raise RuntimeError(f"{name} compiles for sm_{arch} with warnings:\n" + "\n".join(warnings))
    parts = _ENTRY.split(log)
    reports = dict(zip(parts[1::2], parts[2::2], strict=True))
    entries = _entries(_ptx(program.handle))
    symbols = {kernel: code.symbol_mapping[kernel].decode() for kernel in kernels}
    return [_resources(kernel, reports[s], entries[s]) for kernel, s in symbols.items()]


def _clean(log: str) -> str:
    return log.replace("\0", "").strip()


def _warnings(log: str) -> list[str]:
    """The warnings of a log, without those that every source gets for what it does not use."""
    unused = re.findall(r"^constexpr \w+ (\w+) =", _COMMON.read_text(), re.MULTILINE)
    found = []
    for line in log.splitlines():
        warning = _WARNING.search(line)
        if warning is None:
            continue
        constant = _UNUSED.match(warning["text"])
        if not (warning["number"] == "177-D" and constant and constant[1] in unused):
            found.append(line)
    return found


def _resources(kernel: str, report: str, ptx: str) -> Resources:
    """What ptxas reports of a kernel; ValueError where its report is not understood."""

    def numbers(what: str) -> list[int]:
        return [int(number) for number in re.findall(what, report)]

    return Resources(
        kernel,
        registers=max(numbers(r"Used (\d+) registers")),
        stack_bytes=max(numbers(r"(\d+) bytes (?:stack frame|cumulative stack)")),
        spill_bytes=sum(numbers(r"(\d+) bytes spill (?:stores|loads)")),
        ptx=ptx,
    )


def _ptx(program: object) -> str:
    """The PTX from which the program's machine code was made; cuda.core gives only one of them."""
    from cuda.bindings import nvrtc

    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = bytearray(size)
    nvrtc.nvrtcGetPTX(program, text)
    return text.decode()


def _entries(ptx: str) -> dict[str, str]:
    """The code of each kernel under its symbol, after what stands before all kernels."""
    head, *entries = re.split(r"^(?=.*\.entry )", _clean(ptx), flags=re.MULTILINE)
    symbols = (re.search(r"\.entry (\w+)", entry) for entry in entries)
    return {s[1]: head + entry for s, entry in zip(symbols, entries, strict=True) if s}
