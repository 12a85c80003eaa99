"""Threads that share an operation: who has nothing to do takes the next part of it.

One leads: it opens the operation, works as if it were alone, and closes it when all is done. Others
may come in while it is open; if none does, nothing is missing. A phase begins when the one before
is done. The numbers do not depend on who takes which part.
"""

import numpy as np

from gpubn.kernels.cpu.compiled.atomic import add, give_way, peek, poke
from gpubn.kernels.cpu.compiled.lowlevel import LINE, jit, vector
from gpubn.kernels.cpu.layout import FIRST, LAST, PHASE

STATE, INSIDE, CAME, NEXT, DONE, JOB = range(0, 6 * LINE, LINE)
"""Places of the numbers of a team, in bytes: whether an operation is open; how many work on it
beside the one who leads, and how many came; the next part; how many are done; the operation. Each
has a line of the cache for itself, so that who reads it is not kept waiting by another."""
SIZE = JOB + 2 * LINE
"""Bytes of a team."""
CLOSED, OPEN, ENDED = range(3)
"""The states of a team."""
WHOLE, REAL, PARTS, PHASES, REPLICAS, ITEMSIZE, MEMORY, EACH, THREADS = range(9)
"""The facts of an operation: its row, its parts, the memory of all threads and of each."""
_NUMBER = np.int64(0)


@jit
def job_of(team):
    """Return what is known of the operation."""
    return vector(team + JOB, THREADS + 1, _NUMBER)


@jit
def open_job(team, whole, real, parts, replicas, memory, each, threads):
    """Let others in, `threads` with who leads."""
    job = job_of(team)
    job[WHOLE], job[REAL], job[PARTS] = whole.ctypes.data, real.ctypes.data, parts.ctypes.data
    job[PHASES], job[REPLICAS], job[ITEMSIZE] = len(parts), replicas, real.itemsize
    job[MEMORY], job[EACH], job[THREADS] = memory, each, threads
    for place in (CAME, NEXT, DONE):
        poke(team + place, 0)
    poke(team + STATE, OPEN)


@jit
def close_job(team):
    """Wait until nobody is in; all parts were taken before, so that all is done then."""
    poke(team + STATE, CLOSED)
    while peek(team + INSIDE) > 0:
        give_way()


@jit
def enter(team, itemsize, patience):
    """Wait for an operation of this dtype and go in; return the number of this thread, from 1.

    Returns 0 after so many looks, where one of another dtype is open, or when the team ends.
    """
    for _ in range(patience):
        state = peek(team + STATE)
        if state == ENDED:
            break
        if state == OPEN:
            add(team + INSIDE, 1)
            if peek(team + STATE) == OPEN:  # from here on the operation stays where it is
                job = job_of(team)
                if job[ITEMSIZE] != itemsize:
                    leave(team)
                    break
                number = add(team + CAME, 1) + 1
                if number < job[THREADS]:
                    return number
            leave(team)
        give_way()
    return 0


@jit
def leave(team):
    """Go out again."""
    add(team + INSIDE, -1)


@jit
def begin(turn, replicas, whole, row):
    """Begin with an operation: a turn is a phase, the parts before it and up to its end, and the
    first replica of a part and that after its last. Each thread has a row of its own."""
    turn[0] = turn[1] = turn[2] = turn[3] = 0
    turn[4] = replicas
    for k in range(len(row)):
        row[k] = whole[k]


@jit
def take(team, parts, turn, row):
    """Take the next part and wait until it may begin; return False where none is left.

    The turn, or the row, is told what the part consists of.
    """
    part = add(team + NEXT, 1)
    if turn[2] == 0:
        turn[2] = _count(parts[0])
    while part >= turn[2]:
        turn[0] += 1
        if turn[0] == len(parts):
            return False
        turn[1] = turn[2]
        turn[2] += _count(parts[turn[0]])
    while peek(team + DONE) < turn[1]:
        give_way()
    items, unit = parts[turn[0]]
    first = (part - turn[1]) * abs(unit)
    last = min(items, first + abs(unit))
    if unit < 0:
        turn[3], turn[4] = first, last
    else:
        row[PHASE], row[FIRST], row[LAST] = turn[0] + 1, first, last
    return True


@jit
def finish(team):
    """Count a part as done."""
    add(team + DONE, 1)


@jit
def _count(part):
    return -(-part[0] // abs(part[1]))
