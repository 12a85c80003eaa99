"""Launch plans of batch norm keep the rules of the kernels, and ask for no others."""

import math
from dataclasses import replace
from itertools import product

import pytest

from gpubn.kernels.cuda import catalog, source
from gpubn.kernels.cuda.batch_norm_launch import CLUSTER_ARCH, FILL, choose_launch, one_pass
from gpubn.kernels.cuda.source import PACKS, THREADS, WARPS

DEVICES = {75: 64 << 10, 80: 163 << 10, 86: 99 << 10, 90: 227 << 10, 120: 99 << 10}
"""Shared memory that a block may have, by compute capability."""
REPLICAS = (1, 3, 1000)
ROWS = (1, 2, 31, 100, 256, 257, 896, 1000, 2048, 4097, 65_536, 1_000_003)
COLUMNS = (1, 2, 4, 7, 8, 33, 64, 100, 256, 784, 4096)
SIZES = {"float16": (2, 4), "bfloat16": (2, 4), "float32": (4, 4), "float64": (8, 8)}
"""Bytes of a stored number and of a statistic."""


def grid(arch, limit):
    """The arguments of many plans for one device, arrays of up to 2^34 numbers."""
    shapes = [s for s in product(REPLICAS, ROWS, COLUMNS) if math.prod(s) <= 2**34]
    for backward, shape, dtype in product((False, True), shapes, PACKS):
        for pack in (PACKS[dtype], 1):
            if shape[2] % pack == 0:
                yield backward, shape, dtype, pack, arch, limit


def kernel_name(backward, dtype, plan):
    stem = f"batch_norm_{'backward' if backward else 'forward'}"
    cluster = [plan.cluster] if plan.form == "cluster" else []
    return source.kernel(stem, f"{stem}_{plan.form}", dtype, plan.pack, *cluster).name


def shared_bytes(backward, dtype, plan):
    """Return the bytes that the kernels lay out in shared memory."""
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
    fitting = [p for p in one_pass(*arguments[:-1]) if p.shared <= limit]
    of_form = [p for p in fitting if p.form == plan.form]
    twice = [p for p in fitting if 2 * p.shared <= limit]
    relaxed = [p for p in of_form if p in twice] or of_form
    filling = [p for p in relaxed if p.slabs * p.cluster >= FILL]
    slab_twice = any(p.form == "slab" for p in twice)
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
        "no block without rows": (blocks - 1) * plan.rows < n,
        "whole steps of a block": plan.rows % (THREADS // plan.lanes) == 0,
        "every column": across * slabs >= d,
        "no slab without columns": across * (slabs - 1) < d,
        "as many slabs of every replica": rest == 0,
        "tiles": 1 <= plan.together <= plan.slabs,
        "a slab where it fits twice": plan.form == "slab" or not slab_twice,
        "one pass where it fits twice": plan.form != "tiled" or not twice,
        "two blocks fit where they can": plan.form == "tiled" or plan in relaxed,
        "forward, a cluster fits twice": backward or plan.form != "cluster" or plan in twice,
        "the device is filled where it can be": not filling or plan in filling,
        "in rows as wide as can be": not filling or plan.lanes == max(p.lanes for p in filling),
        "few enough blocks": 2 * (plan.slabs + plan.together) * blocks < 2**31,
    }
    return [rule for rule, holds in rules.items() if not holds]


@pytest.mark.parametrize("small", [False, True], ids=["whole", "48 KiB"])
@pytest.mark.parametrize("arch", DEVICES)
def test_plans_keep_the_rules_and_ask_only_for_kernels_that_there_are(arch, small):
    limit = 48 << 10 if small else DEVICES[arch]
    known = {
        kernel.name
        for direction in ("forward", "backward")
        for kernel in catalog.instantiations(f"batch_norm_{direction}", arch)
    }
    asked = set()
    for arguments in grid(arch, limit):
        plan = choose_launch(*arguments)
        assert broken(arguments, plan) == [], (arguments, plan)
        asked.add(kernel_name(arguments[0], arguments[2], plan))
    assert asked == known  # nor is anything compiled in vain


def test_a_broken_plan_is_noticed():
    arguments = (False, (3, 1000, 100), "float32", 4, 75, 64 << 10)
    plan = choose_launch(*arguments)
    assert plan.form == "slab"
    for rule, change in {
        "clusters only where there are any": {"form": "cluster", "cluster": 4},
        "cluster by form": {"form": "cluster"},
        "shared memory fits": {"shared": 1 << 20},
        "shared memory suffices": {"shared": plan.shared - 1},
        "every row": {"rows": plan.rows // 2},
        "every column": {"slabs": 3},
        "no slab without columns": {"slabs": 3 * plan.slabs},
        "no block without rows": {"form": "cluster", "cluster": 4},
        "two blocks fit where they can": {"rows": 2 * plan.rows},
        "as many slabs of every replica": {"slabs": plan.slabs + 1},
    }.items():
        assert rule in broken(arguments, replace(plan, **change))
