"""NumPy's Philox generator: the numbers of float32 that it draws, compared before they are made.

Philox4x64 with ten rounds (Salmon et al. 2011). A block gives four words, each word two numbers,
the lower half first, each number the upper 24 bits of its half over 2^24. Blocks count from 1.
"""

import numpy as np

from gpubn.kernels.cpu.compiled.lowlevel import high_half, jit

M0, M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
"""The multipliers."""
W0, W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
"""What is added to the key from round to round."""
_ONE, _ZERO, _EIGHT, _HALF = (np.uint64(n) for n in (1, 0, 8, 32))
_LOWER = np.uint64(0xFFFFFFFF)


@jit
def _block(count, k0, k1):
    """Return the four words of a block."""
    c0, c1, c2, c3 = count, _ZERO, _ZERO, _ZERO
    for _ in range(10):
        high0, high1 = high_half(M0, c0), high_half(M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, M1 * c2, high0 ^ c3 ^ k1, M0 * c0
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3


@jit
def at_least(key, least, mask):
    """mask[j] = the j-th number of the generator with this key >= least / 2^24."""
    count, n = _ZERO, len(mask)
    for first in range(0, n - n % 8, 8):
        count += _ONE
        words = _block(count, key[0], key[1])
        for i in range(4):
            word = words[i]
            mask[first + 2 * i] = (word & _LOWER) >> _EIGHT >= least
            mask[first + 2 * i + 1] = word >> _HALF >> _EIGHT >= least
    if n % 8 > 0:
        words = _block(count + _ONE, key[0], key[1])
        for j in range(n % 8):
            half = words[j // 2] >> (_HALF if j % 2 else _ZERO)
            mask[n - n % 8 + j] = (half & _LOWER) >> _EIGHT >= least
