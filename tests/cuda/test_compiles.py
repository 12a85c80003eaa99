"""Without a GPU: every kernel that can be asked for compiles and does not spill."""

import fnmatch
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gpubn.kernels.cuda import source
from gpubn.kernels.cuda.source import THREADS
from tests.cuda import catalog, nvrtc

ROOT = Path(__file__).parents[2]
FOLDER = Path(source.__file__).parent
ARCHS = (75, 80, 90, 100, 120)
REGISTERS = 65536
"""Of a multiprocessor, on each of these architectures."""
FLOAT_ATOMIC = re.compile(r"\b(?:atom|red)\.[\w.:]*(?:f16|bf16|f32|f64|\.cas\b)[\w.]*")
"""Sums in an order that changes from run to run; a compare-and-swap may hide one."""


def refuse(problem):
    """Skip loudly; fail where continuous integration should have installed NVRTC."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(problem)


@pytest.fixture(scope="module")
def compiled():
    """What compiles the kernels of (stem, arch), each of them once."""
    found = nvrtc.available()
    if not found:
        refuse(f"no CUDA kernel was compiled: {found.problem}")
    return functools.cache(nvrtc.compile_kernels)


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


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("stem", catalog.stems())
def test_every_kernel_compiles_and_two_blocks_fit_without_spills(compiled, stem, arch):
    kernels = compiled(stem, arch)  # raises where there are warnings
    assert [k.kernel for k in kernels] == [k.name for k in catalog.instantiations(stem, arch)]
    assert [k.ptx.count(".entry ") for k in kernels] == [1] * len(kernels)
    assert faults(kernels) == []


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_slabs_move_16_bytes_at_once_on_sm_90(compiled, direction):
    ptx = {k.kernel: k.ptx for k in compiled(f"batch_norm_{direction}", 90)}
    copy = r"cp\.async\.cg\.shared\.global \[%\w+\], \[%\w+\], 16;"
    arrays = 1 if direction == "forward" else 2
    packed = ptx[f"batch_norm_{direction}_slab<float, 4>"]
    assert len(re.findall(copy, packed)) == arrays
    assert "cp.async.ca" not in packed
    assert len(re.findall(r"st\.global\.v4\.[fbu]32", packed)) == 1
    single = ptx[f"batch_norm_{direction}_slab<float, 1>"]
    assert not re.search(copy + r"|st\.global\.v4", single)


# What the checks above must catch.


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
INDEXED = """
__global__ void planted(int* x, int i) {
  int a[400];
  for (int j = 0; j < 400; ++j) a[j] = x[j];
  for (int j = 0; j < 400; ++j) a[a[j] % 400] += j;
  *x = a[i];
}
"""
GREEDY = SPILLS.replace("(1024, 2)", "(256)")
ADDS = "__global__ void planted({0}* x) {{ atomicAdd(x, {0}(1)); }}"
ADDS_AND_READS = "__global__ void planted({0}* x) {{ x[1] = atomicAdd(x, {0}(1)); }}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (SPILLS, r"planted spills \d+ bytes"),
        (INDEXED, r"planted has a stack frame of 1600 bytes"),
        (GREEDY, r"planted takes 1[3-9]\d registers"),
        (ADDS.format("float"), r"planted has the atomic (atom|red)\.\S*add\.f32"),
        (ADDS_AND_READS.format("double"), r"planted has the atomic atom\.\S*add\.f64"),
    ],
    ids=["spill", "stack", "registers", "float atomic", "double atomic"],
)
def test_a_planted_fault_is_found(compiled, text, wrong):
    found = faults(nvrtc.compile_text(text, ["planted"], 90))
    assert re.search(wrong, "\n".join(found)), found


def test_a_sound_kernel_has_no_faults(compiled):
    text = ADDS_AND_READS.format("unsigned")
    (kernel,) = nvrtc.compile_text(text, ["planted"], 90)
    assert faults([kernel]) == []
    assert (kernel.kernel, kernel.stack_bytes, kernel.spill_bytes) == ("planted", 0, 0)
    assert 0 < kernel.registers < 64
    assert "atom" in kernel.ptx


def test_static_shared_memory_is_counted(compiled):
    text = """
        __global__ void planted(int* x) {
          __shared__ int s[100];
          s[threadIdx.x] = *x;
          __syncthreads();
          *x = s[3];
        }"""
    assert nvrtc.compile_text(text, ["planted"], 90)[0].shared_bytes == 400


def test_functions_that_are_not_inlined_are_looked_at(compiled):
    text = """
        __device__ __noinline__ void add(float* x) { atomicAdd(x, 1.0f); }
        __global__ void planted(float* x) { add(x); }"""
    assert "atomic" in str(faults(nvrtc.compile_text(text, ["planted"], 90)))


@pytest.mark.parametrize(
    ("text", "kernel", "arch", "message"),
    [
        ("__global__ void f(int* x) { *x = ; }", "f", 90, "does not compile.*expected an expr"),
        ("__global__ void f(int* x) {}", "g", 90, 'does not compile.*"g" is undefined'),
        ("__global__ void f(int* x) {}", "f<float>", 90, "does not compile.*f"),
        ('__global__ void f() { asm volatile("no;"); }', "f", 90, "does not compile.*'no'"),
        ("__global__ void f() { int unused; }", "f", 90, 'with warnings.*variable "unused"'),
        ("__global__ void f(int* x) {}", "f", 42, "for sm_42; NVRTC knows only sm_"),
    ],
    ids=["syntax", "no such kernel", "no such template", "assembly", "warning", "architecture"],
)
def test_a_source_that_does_not_compile_is_one_error_with_the_log(
    compiled, text, kernel, arch, message
):
    with pytest.raises(RuntimeError, match=rf"(?s)^planted\.cu .*{message}"):
        nvrtc.compile_text(text, [kernel], arch, name="planted.cu")


def test_only_unused_constants_of_the_common_file_go_without_a_warning(compiled):
    text = "constexpr int {0} = 256;\n__global__ void f(int* x) {{ *x = 1; }}"
    assert nvrtc.compile_text(text.format("THREADS"), ["f"], 90)
    with pytest.raises(RuntimeError, match=r'(?s)with warnings.*variable "OTHER"'):
        nvrtc.compile_text(text.format("OTHER"), ["f"], 90)


# Where NVRTC is missing.


@pytest.fixture
def asked_anew():
    nvrtc.available.cache_clear()
    yield
    nvrtc.available.cache_clear()


def test_without_the_packages_it_says_how_to_install_them(monkeypatch, asked_anew):
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    found = nvrtc.available()
    assert not found
    assert "`make extras`" in found.problem
    with pytest.raises(RuntimeError, match=r"^NVRTC cannot be used: .*`make extras`"):
        nvrtc.compile_kernels("sgd", 90)


def test_without_the_library_it_says_so(monkeypatch, asked_anew):
    bindings = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")

    def missing():
        raise RuntimeError("no libnvrtc.so\nwas found anywhere")

    monkeypatch.setattr(bindings, "nvrtcGetSupportedArchs", missing)
    assert "its library does not load (no libnvrtc.so)" in nvrtc.available().problem


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("true", pytest.fail.Exception), ("", pytest.skip.Exception), (None, pytest.skip.Exception)],
)
def test_missing_nvrtc_fails_only_continuous_integration(monkeypatch, ci, outcome):
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="why not"):
        refuse("why not")


def test_importing_it_imports_no_cuda():
    code = (
        "import sys, tests.cuda.nvrtc\n"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] == 'cuda'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What can be asked for.


def test_the_catalog_names_every_kernel_of_every_source_once():
    assert catalog.stems() == sorted(path.stem for path in FOLDER.glob("*.cu"))
    for stem in catalog.stems():
        assert (FOLDER / f"{stem}.py").is_file(), "the launcher stands beside its source"
        names = [kernel.name for kernel in catalog.instantiations(stem, 90)]
        assert len(names) == len(set(names))
        code = re.sub(r"//.*", "", (FOLDER / f"{stem}.cu").read_text())
        kernels = re.findall(r"__global__ void[^;{]*?(\w+)\((?!THREADS|C\))", code)
        assert kernels
        assert {name.partition("<")[0] for name in names} == set(kernels)


def test_the_sources_are_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["gpubn.kernels.cuda"]
    sources = [p.name for p in FOLDER.iterdir() if p.is_file() and p.suffix not in (".py", ".md")]
    assert {Path(name).suffix for name in sources} == {".cu", ".cuh"}
    left = [s for s in sources if not any(fnmatch.fnmatch(s, pattern) for pattern in patterns)]
    assert left == []
