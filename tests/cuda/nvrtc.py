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
from tests.cuda import catalog

_COMMON = Path(source.__file__).with_name("common.cuh")
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_WARNING = re.compile(r"\bwarning\b(?: #(?P<number>[\w-]+))?\s*:\s*(?P<text>.*)")
_UNUSED = re.compile(r'variable "(\w+)" was declared but never referenced')


@dataclass(frozen=True)
class Availability:
    """Whether NVRTC can be used: as a bool, or `problem` in words.

    Attributes:
        problem: why it cannot be used; empty where it can.
        archs: the compute capabilities that it compiles for, 90 for 9.0.
    """

    problem: str = ""
    archs: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Resources:
    """What one kernel takes.

    Attributes:
        kernel: its name as asked for, with template arguments.
        registers: of one thread.
        stack_bytes: local memory of one thread: arrays that are indexed, and what is spilt.
        spill_bytes: stored and loaded again because registers ran out.
        shared_bytes: static shared memory; what a launch asks for comes on top.
        ptx: its code, and that of the functions which were not inlined.
    """

    kernel: str
    registers: int
    stack_bytes: int
    spill_bytes: int
    shared_bytes: int
    ptx: str = field(repr=False)


@cache
def available() -> Availability:
    """Say whether NVRTC can be used here."""
    try:
        from cuda.bindings import nvrtc
        from cuda.core import Program  # noqa: F401
    except ImportError as error:
        return Availability(
            f"NVRTC cannot be used: {error}; `make extras` installs cuda-core, cuda-bindings and "
            "nvidia-cuda-nvrtc"
        )
    try:
        status, archs = nvrtc.nvrtcGetSupportedArchs()
    except RuntimeError as error:  # cuda-pathfinder finds no library
        return Availability(
            f"NVRTC cannot be used: its library does not load ({str(error).splitlines()[0]}); "
            "`make extras` installs nvidia-cuda-nvrtc"
        )
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        return Availability(f"NVRTC cannot be used: asked for its architectures, it says {status}")
    return Availability(archs=tuple(archs))


def compile_kernels(stem: str, arch: int) -> list[Resources]:
    """Compile every kernel of a source that a device of this compute capability can be asked for.

    Raises:
        RuntimeError: as `compile_text`.
    """
    names = [kernel.name for kernel in catalog.instantiations(stem, arch)]
    return compile_text(source.source_text(stem), names, arch, name=f"{stem}.cu")


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
        RuntimeError: NVRTC cannot be used, does not know the architecture, fails, or warns of
            anything but a constant of common.cuh that the source does not use.
    """
    found = available()
    if not found:
        raise RuntimeError(found.problem)
    if arch not in found.archs:
        known = ", ".join(f"sm_{a}" for a in found.archs)
        raise RuntimeError(f"{name} was to be compiled for sm_{arch}; NVRTC knows only {known}")
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
    symbols = {kernel: code.symbol_mapping[kernel].decode() for kernel in kernels}
    reports, entries = _by_entry(log), _entries(_ptx(program.handle))
    missing = [k for k, s in symbols.items() if s not in reports or s not in entries]
    if missing:
        raise RuntimeError(
            f"{name} compiled for sm_{arch}, but nothing is said of {', '.join(missing)}:\n{log}"
        )
    return [_resources(k, reports[s], entries[s]) for k, s in symbols.items()]


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


def _by_entry(log: str) -> dict[str, str]:
    """What ptxas says of each kernel, under its symbol."""
    parts = _ENTRY.split(log)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _resources(kernel: str, report: str, ptx: str) -> Resources:
    def numbers(what: str, *, required: bool = True) -> list[int]:
        found = [int(number) for number in re.findall(what, report)]
        if required and not found:
            raise RuntimeError(f"ptxas's report of {kernel} is not understood:\n{report}")
        return found

    return Resources(
        kernel,
        registers=max(numbers(r"Used (\d+) registers")),
        stack_bytes=max(numbers(r"(\d+) bytes (?:stack frame|cumulative stack)")),
        spill_bytes=sum(numbers(r"(\d+) bytes spill (?:stores|loads)")),
        shared_bytes=sum(numbers(r"(\d+) bytes smem", required=False)),
        ptx=ptx,
    )


def _ptx(program: object) -> str:
    """The PTX from which the program's machine code was made; cuda.core gives only one of them."""
    from cuda.bindings import nvrtc

    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = bytearray(size)
    (status,) = nvrtc.nvrtcGetPTX(program, text)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"NVRTC gives no PTX: {status}")
    return text.decode()


def _entries(ptx: str) -> dict[str, str]:
    """The code of each kernel under its symbol, after what stands before all kernels."""
    head, *entries = re.split(r"^(?=.*\.entry )", _clean(ptx), flags=re.MULTILINE)
    found = {}
    for entry in entries:
        symbol = re.search(r"\.entry (\w+)", entry)
        if symbol is not None:
            found[symbol[1]] = head + entry
    return found
