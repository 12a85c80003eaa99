"""Whole numbers of 64 bits that threads read and change at once, to tell each other something."""

import os

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_NUMBER = ir.IntType(64)

give_way = types.ExternalFunction(
    "SwitchToThread" if os.name == "nt" else "sched_yield", types.int32()
)
"""Let another thread of the machine run, if one waits for this core."""


def _place(builder, address):
    return builder.inttoptr(address, _NUMBER.as_pointer())


@intrinsic
def peek(typing, address):
    """Return the number at an address."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(_place(builder, args[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def poke(typing, address, number):
    """Write a number; whoever reads it sees all that was written before."""

    def generate(context, builder, signature, args):
        builder.store_atomic(args[1], _place(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def add(typing, address, number):
    """Add to the number at an address; return what it was."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _place(builder, args[0]), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate
