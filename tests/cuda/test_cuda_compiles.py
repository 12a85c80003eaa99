"""Without a GPU: every kernel that can be asked for compiles and does not spill; plans ask for no
other.
"""

import fnmatch
import functools
import inspect
import math
import os
import re
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path

import pytest

from gpubn.kernels.cuda import batch_norm, source
from gpubn.kernels.cuda.source import CLUSTER_ARCH, PACKS, STORED, THREADS, WARPS
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
    ptx = {k.kernel: k.ptx for k in compiled("batch_norm", 90)}
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


# What is asked for: the plans of batch norm, which need no compiler.


DEVICES = {
    75: 64 << 10,
    80: 163 << 10,
    86: 99 << 10,
    90: 227 << 10,
    100: 227 << 10,
    120: 99 << 10,
}
"""Shared memory that a block may have, by compute capability."""
REPLICAS = (1, 3, 30, 1000)
ROWS = (1, 2, 3, 31, 64, 100, 255, 256, 257, 511, 512, 1000, 2048, 4097, 65_536, 1_000_003)
COLUMNS = (1, 2, 3, 4, 7, 8, 31, 32, 33, 64, 100, 128, 255, 256, 784, 1024, 4096)
SIZES = {"float16": (2, 4), "bfloat16": (2, 4), "float32": (4, 4), "float64": (8, 8)}
"""Bytes of a stored number and of a statistic."""


def grid(arch, limit):
    """The arguments of many plans for one device, arrays of up to 2^34 numbers."""
    shapes = [s for s in product(REPLICAS, ROWS, COLUMNS) if math.prod(s) <= 2**34]
    for backward, shape, (dtype, stored) in product((False, True), shapes, STORED.items()):
        for pack in (PACKS[stored], 1):
            if shape[2] % pack == 0:
                yield backward, shape, dtype, pack, arch, limit


def kernel_name(backward, dtype, plan):
    template = [STORED[dtype], str(plan.pack), *([str(plan.cluster)] * (plan.form == "cluster"))]
    direction = "backward" if backward else "forward"
    return f"batch_norm_{direction}_{plan.form}<{', '.join(template)}>"


def shared_bytes(backward, dtype, plan):
    """What the kernels lay out in shared memory."""
    size, statistic = SIZES[dtype]
    across = plan.lanes * plan.pack
    if plan.form == "tiled":
        moments = plan.lanes * WARPS * (1 + 2 * plan.pack)
        return statistic * (2 * (WARPS + 1) * across if backward else moments)
    tiles = (2 if backward else 1) * plan.rows * across * size
    return tiles + (2 if backward else 3) * (WARPS + 1) * across * statistic


def broken(arguments, plan):
    """The names of the rules that a plan breaks."""
    backward, (replicas, n, d), dtype, pack, arch, limit = arguments
    across = plan.lanes * plan.pack
    slabs, rest = divmod(plan.slabs, replicas)
    blocks = plan.cluster if plan.form != "tiled" else plan.chunks(n)
    rules = {
        "form": plan.form in ("slab", "cluster", "tiled"),
        "clusters only where there are any": plan.cluster == 1 or arch >= CLUSTER_ARCH,
        "cluster by form": (plan.cluster > 1) == (plan.form == "cluster"),
        "pack": plan.pack == pack,
        "shared memory fits": plan.shared <= limit,
        "shared memory suffices": plan.shared >= shared_bytes(backward, dtype, plan),
        "a ticket fits": plan.form != "tiled" or plan.shared >= 4,
        "lanes": plan.lanes in (1, 2, 4, 8, 16, 32),
        "every row": blocks * plan.rows >= n,
        "no task without rows": plan.form != "tiled" or (blocks - 1) * plan.rows < n,
        "whole steps of a block": plan.rows % (THREADS // plan.lanes) == 0,
        "every column": across * slabs >= d,
        "no slab without columns": across * (slabs - 1) < d,
        "as many slabs of every replica": rest == 0,
        "tiles": 1 <= plan.together <= plan.slabs,
        "few enough blocks": 2 * (plan.slabs + plan.together) * blocks < 2**31,
    }
    return [rule for rule, holds in rules.items() if not holds]


@pytest.mark.parametrize("small", [False, True], ids=["whole", "48 KiB"])
@pytest.mark.parametrize("arch", DEVICES)
def test_plans_keep_the_rules_and_ask_only_for_kernels_that_there_are(arch, small):
    limit = 48 << 10 if small else DEVICES[arch]
    known = {kernel.name for kernel in batch_norm.instantiations(arch)}
    asked = set()
    for arguments in grid(arch, limit):
        plan = batch_norm.plan(*arguments)
        assert broken(arguments, plan) == [], (arguments, plan)
        asked.add(kernel_name(arguments[0], arguments[2], plan))
    assert asked <= known
    # Nor is anything compiled in vain.
    assert {name for name in known - asked if "inference" not in name} == set()


def test_a_broken_plan_is_noticed():
    arguments = (False, (3, 1000, 100), "float32", 4, 75, 64 << 10)
    plan = batch_norm.plan(*arguments)
    assert plan.form == "slab"
    values = vars(plan)
    for rule, change in {
        "clusters only where there are any": {"form": "cluster", "cluster": 4},
        "cluster by form": {"form": "cluster"},
        "shared memory fits": {"shared": 1 << 20},
        "shared memory suffices": {"shared": plan.shared - 1},
        "every row": {"rows": plan.rows // 2},
        "every column": {"slabs": 3},
        "no slab without columns": {"slabs": 3 * plan.slabs},
        "as many slabs of every replica": {"slabs": plan.slabs + 1},
    }.items():
        assert rule in broken(arguments, batch_norm.Plan(**(values | change)))


def test_no_plan_for_the_same_arguments_ever_differs(monkeypatch, tmp_path):
    """Not in another order, process or environment, nor with another number of processors."""
    code = (
        "import os, sys\n"
        "from gpubn.kernels.cuda.batch_norm import plan\n"
        "os.cpu_count = lambda: 77\n"
        "for line in sys.stdin: print(plan(*eval(line)))\n"
    )
    cases = [a for arch, limit in DEVICES.items() for a in list(grid(arch, limit))[::101]]
    batch_norm.plan.cache_clear()
    here = [str(batch_norm.plan(*case)) for case in cases]
    there = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(map(repr, reversed(cases))),
        env={**os.environ, "PYTHONHASHSEED": "7", "CUDA_VISIBLE_DEVICES": "3"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.splitlines()[::-1] == here
    given = ["backward", "shape", "dtype", "pack", "arch", "shared_limit"]
    assert list(inspect.signature(batch_norm.plan).parameters) == given
