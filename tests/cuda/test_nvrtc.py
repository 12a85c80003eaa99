"""Without a GPU: every kernel that can be asked for compiles and does not spill."""

import fnmatch
import functools
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from gpubn.kernels.cuda import catalog, source
from gpubn.kernels.cuda.source import PACKS, THREADS
from tests.cuda import nvrtc

ROOT = Path(__file__).parents[2]
FOLDER = Path(source.__file__).parent
REGISTERS = 65536
"""Of a multiprocessor, on each of these architectures."""
FLOAT_ATOMIC = re.compile(r"\b(?:atom|red)\.[\w.:]*(?:f16|bf16|f32|f64|\.cas\b)[\w.]*")
"""Sums in an order that changes from run to run; a compare-and-swap may hide one."""
KERNELS = {
    (stem, arch): [
        kernel.name
        for kernel in catalog.instantiations(stem, arch)
        # All of them for the architecture that has all forms. For the oldest and the newest those
        # that take most registers: a pack for a thread, in each width of a number.
        if arch == 90 or not re.search(r"<bf16|, 1[,>]", kernel.name)
    ]
    for arch in (75, 90, 120)
    for stem in catalog.stems()
    if catalog.instantiations(stem, arch)
}


def refuse(problem):
    """Skip loudly; fail where continuous integration should have installed NVRTC."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(problem)


@pytest.fixture(scope="module")
def compiled():
    """What compiles KERNELS[stem, arch], each of them once."""
    if nvrtc.problem():
        refuse(f"no CUDA kernel was compiled: {nvrtc.problem()}")
    return functools.cache(
        lambda stem, arch: nvrtc.compile_text(
            source.source_text(stem), KERNELS[stem, arch], arch, name=f"{stem}.cu"
        )
    )


def faults(kernels):
    """Whatever is wrong with the kernels, a line each."""
    found = []
    for kernel in kernels:
        granted = -(-kernel.registers // 8) * 8  # registers are given out by eights
        atomic = FLOAT_ATOMIC.search(kernel.ptx)
        wrongs = {
            f"spills {kernel.spill_bytes} bytes": kernel.spill_bytes,
            f"has a stack frame of {kernel.stack_bytes} bytes": kernel.stack_bytes,
            f"takes {kernel.registers} registers": granted * THREADS * 2 > REGISTERS,
            f"has the atomic {atomic and atomic[0]}": atomic,
        }
        found += [f"{kernel.kernel} {wrong}" for wrong, holds in wrongs.items() if holds]
    return found


@pytest.mark.parametrize(("stem", "arch"), KERNELS)
def test_every_kernel_compiles_and_two_blocks_fit_without_spills(compiled, stem, arch):
    kernels = compiled(stem, arch)  # raises where there are warnings
    assert [k.kernel for k in kernels] == KERNELS[stem, arch]
    assert kernels
    assert [k.ptx.count(".entry ") for k in kernels] == [1] * len(kernels)
    assert faults(kernels) == []


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_slabs_move_16_bytes_at_once_on_sm_90(compiled, direction):
    ptx = {k.kernel: k.ptx for k in compiled(f"batch_norm_{direction}", 90)}
    copy = r"cp\.async\.cg\.shared\.global \[%\w+\], \[%\w+\], 16;"
    arrays = 1 if direction == "forward" else 2
    packed = ptx[f"batch_norm_{direction}_slab<float, {PACKS['float32']}>"]
    assert len(re.findall(copy, packed)) == arrays
    assert "cp.async.ca" not in packed
    assert len(re.findall(r"st\.global\.v4\.[fbu]32", packed)) == arrays  # dx, and rate * dx
    single = ptx[f"batch_norm_{direction}_slab<float, 1>"]
    assert not re.search(copy + r"|st\.global\.v4", single)


SPILLS = """
__global__ void __launch_bounds__(1024, 2) planted(double* x) {
  double a[64];
#pragma unroll
  for (int j = 0; j < 64; ++j) a[j] = x[j * 1024 + threadIdx.x];
  for (int k = 0; k < 100; ++k) {
#pragma unroll
    for (int j = 0; j < 64; ++j) a[j] = a[j] * a[(j + 1) % 64] + a[(j + 7) % 64];
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < 64; ++j) x[j * 1024 + threadIdx.x] = a[j];
}
"""
ADDS = "__global__ void planted({0}* x) {{ x[1] = atomicAdd(x, {0}(1)); }}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (SPILLS, r"planted spills \d+ bytes"),
        (SPILLS.replace("(1024, 2)", "(256)"), r"planted takes 1[3-9]\d registers"),
        (ADDS.format("double"), r"planted has the atomic atom\.\S*add\.f64"),
        (ADDS.format("unsigned"), r"^$"),
    ],
    ids=["spill", "registers", "atomic", "sound"],
)
def test_a_planted_fault_is_found(compiled, text, wrong):
    found = faults(nvrtc.compile_text(text, ["planted"], 90))
    assert re.search(wrong, "\n".join(found)), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__global__ void f(int* x) { *x = ; }", "does not compile.*expected an expr"),
        ("constexpr int OTHER = 2;\n__global__ void f() {}", 'with warnings.*variable "OTHER"'),
    ],
    ids=["syntax", "warning"],
)
def test_what_does_not_compile_is_one_error_with_the_log(compiled, text, message):
    with pytest.raises(RuntimeError, match=rf"(?s)^planted\.cu .*{message}"):
        nvrtc.compile_text(text, ["f"], 90, name="planted.cu")


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail), ("", pytest.skip)])
def test_missing_nvrtc_fails_only_continuous_integration(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    monkeypatch.setattr(nvrtc, "problem", nvrtc.problem.__wrapped__)
    with pytest.raises(outcome.Exception, match=r"NVRTC cannot be used: .*`make extras`"):
        refuse(nvrtc.problem())
    with pytest.raises(RuntimeError, match=r"NVRTC cannot be used: .*`make extras`"):
        nvrtc.compile_text("", [], 90)


def test_the_catalog_names_every_kernel_of_every_source_once():
    assert catalog.stems() == sorted(path.stem for path in FOLDER.glob("*.cu"))
    for stem in catalog.stems():
        assert (FOLDER / f"{stem}.py").is_file(), "the launcher stands beside its source"
        names = [kernel.name for kernel in catalog.instantiations(stem, 90)]
        assert len(names) == len(set(names))
        code = re.sub(r"//.*", "", (FOLDER / f"{stem}.cu").read_text())
        kernels = re.findall(r"__global__ void[^;{]*?(\w+)\((?!THREADS|CREW|C\))", code)
        assert kernels
        assert {name.partition("<")[0] for name in names} == set(kernels)


def test_the_sources_are_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["gpubn.kernels.cuda"]
    sources = [p.name for p in FOLDER.iterdir() if p.is_file() and p.suffix not in (".py", ".md")]
    assert {Path(name).suffix for name in sources} == {".cu", ".cuh"}
    left = [s for s in sources if not any(fnmatch.fnmatch(s, pattern) for pattern in patterns)]
    assert left == []
