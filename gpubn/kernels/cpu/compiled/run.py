"""The loop that runs a tape: replica by replica, all its steps, each row by row.

One replica is run to the end before the next begins, so that its memory stays in the cache. None
reads what another wrote, so the order changes no number.
"""

import logging
from functools import cache
from pathlib import Path

import numpy as np

from gpubn.files import sha256
from gpubn.kernels.cpu.compiled import rows, team
from gpubn.kernels.cpu.compiled.lowlevel import LINE, jit, matrix, vector
from gpubn.kernels.cpu.layout import COLUMNS

log = logging.getLogger(__name__)

ALONE, LEAD, SERVE = range(3)
"""The tasks of a thread."""
_NUMBER = np.int64(0)


@jit
def _after(array, value):
    """Return the value; an array that is known by its address alone lives until then."""
    return value if len(array) >= 0 else 0


@cache
def compiled_loop():
    """Return run(blas, what, where, whole, real, parts, begin, end, steps), compiled by dtype.

    Alone, it runs a tape for the replicas from `begin` to before `end`. It leads the team at an
    address in one operation on `end` replicas and `steps` threads, or serves it until it has looked
    `steps` times for one in vain, and returns how many parts it took. Numba keeps what it compiled
    on disk, but looks at the text of one file alone to tell whether that is stale. What a closure
    holds is looked at, too: here the text of all files.
    """
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("*.py")), folder.parent / "layout.py"]
    digest = sha256(b"".join(path.read_bytes() for path in sources))

    def run(blas, what, where, whole, real, parts, begin, end, steps):
        _ = digest
        each = rows.memory_of(whole)
        own = np.empty(LINE // 8 + each * (steps if what == LEAD else 1))
        memory = -(-own.ctypes.data // LINE) * LINE
        taken, times = 0, steps if what == ALONE else 1
        if what == LEAD:
            team.open_job(where, whole, real, parts, end, memory, each, steps)
        while True:
            if what == SERVE:
                number = team.enter(where, real.itemsize, steps)
                if number == 0:
                    return taken
                job = team.job_of(where)
                phases, end = job[team.PHASES], job[team.REPLICAS]
                whole = matrix(job[team.WHOLE], 1, COLUMNS, _NUMBER)
                real = matrix(job[team.REAL], 1, 2, real[0, 0])
                parts = matrix(job[team.PARTS], phases, 2, _NUMBER)
                memory = job[team.MEMORY] + 8 * number * job[team.EACH]
            turn = vector(memory + 8 * rows.TURN, 5, _NUMBER)
            if what != ALONE:
                row = matrix(memory + 8 * rows.ROW, 1, COLUMNS, _NUMBER)
                team.begin(turn, end, whole[0], row[0])
                whole = row
            # One place from which rows are run: each one would be compiled for itself.
            while what == ALONE or team.take(where, parts, turn, whole[0]):
                if what != ALONE:
                    begin, end = turn[3], turn[4]
                rows.run_rows(blas, whole, real, begin, end, times, memory)
                if what == ALONE:
                    return _after(own, taken)
                team.finish(where)
                taken += 1
            if what == LEAD:
                team.close_job(where)
                return _after(own, taken)
            team.leave(where)

    try:
        return jit(cache=True)(run)
    except RuntimeError as error:  # no folder can be written to
        log.warning("compiled kernels are compiled anew in each process (%s)", error)
        return jit(run)
