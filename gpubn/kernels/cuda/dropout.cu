#include "common.cuh"

// Inverted dropout: y = x / (1 - rate) where the mask is true, else 0; a dropped inf or NaN is
// dropped. `each` numbers of a replica lie one behind the other; `chunks` blocks share them.

typedef unsigned long long Word;

// A generator's block of eight numbers: NumPy's Philox4x64 with ten rounds (Salmon et al. 2011).
// Each word gives two numbers, the lower half first, each the upper 24 bits of its half over 2^24.
struct Eight {
  Word word[4];

  __device__ Eight(Word count, Word k0, Word k1) : word{count, 0, 0, 0} {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      constexpr Word m0 = 0xD2E7470EE14C6C93, m1 = 0xCA5A826395121157;
      const Word high0 = __umul64hi(m0, word[0]), high1 = __umul64hi(m1, word[2]);
      const Word low0 = m0 * word[0], low1 = m1 * word[2];
      word[0] = high1 ^ word[1] ^ k0;
      word[1] = low1;
      word[2] = high0 ^ word[3] ^ k1;
      word[3] = low0;
      k0 += 0x9E3779B97F4A7C15;
      k1 += 0xBB67AE8584CAA73B;
    }
  }

  __device__ unsigned number(int j) const {
    return (unsigned)(word[j / 2] >> (j % 2 ? 32 : 0)) >> 8;
  }
};

template <class T>
__device__ __forceinline__ T scale_of(double rate) {
  return T(1.0 / (1.0 - rate));
}

// The masks of the pass that `cursor` comes to next, by the keys (passes, replicas, 2), and y. The
// lower half of `cursor` counts the passes, the upper half the blocks that have read it; the last
// one goes on to the next pass. Of a pass that there are no keys for, y is NaN.
template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    dropout_drawn(const T* x, const Word* keys, long long stride, long long passes,
                  const double* rates, Word* cursor, T* y, unsigned char* mask, long long each,
                  int chunks) {
  const long long pass = *(const volatile Word*)cursor & 0xffffffff;
  const int replica = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const bool known = pass < passes;
  const Word* key = keys + (known ? pass * stride : 0) + 2 * replica;
  const Word k0 = key[0], k1 = key[1];
  const double rate = rates[replica];
  const unsigned least = known ? (unsigned)ceil((double)(float)rate * 16777216.0) : 0;
  const T scale = known ? scale_of<T>(rate) : sqrt(T(-1));
  x += replica * each, y += replica * each, mask += replica * each;
  for (long long i = chunk * (long long)THREADS + threadIdx.x; i * 8 < each;
       i += (long long)chunks * THREADS) {
    const Eight drawn((Word)i + 1, k0, k1);
#pragma unroll
    for (int j = 0; j < 8; j += V) {
      if (i * 8 + j >= each) break;
      T value[V];
      Pack<unsigned char, V> kept;
      load<T, V>(x + i * 8 + j, value);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        kept.value[k] = drawn.number(j + k) >= least;
        value[k] = kept.value[k] ? value[k] * scale : T(0);
      }
      store<T, V>(value, y + i * 8 + j);
      *reinterpret_cast<Pack<unsigned char, V>*>(mask + i * 8 + j) = kept;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const Word arrived = (atomicAdd(cursor, (Word)1 << 32) >> 32) + 1;
    if (arrived == gridDim.x) atomicAdd(cursor, 1 - (arrived << 32));
  }
}

// y by a mask that is there; a rate for each replica, or one for all where `rates` is null.
template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    dropout_masked(const T* x, const unsigned char* mask, const double* rates, double rate, T* y,
                   long long each, int chunks) {
  const int replica = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const T scale = scale_of<T>(rates == nullptr ? rate : rates[replica]);
  x += replica * each, y += replica * each, mask += replica * each;
  for (long long i = (chunk * (long long)THREADS + threadIdx.x) * V; i < each;
       i += (long long)chunks * THREADS * V) {
    T value[V];
    load<T, V>(x + i, value);
    const Pack<unsigned char, V> kept = *reinterpret_cast<const Pack<unsigned char, V>*>(mask + i);
#pragma unroll
    for (int k = 0; k < V; ++k) value[k] = kept.value[k] ? value[k] * scale : T(0);
    store<T, V>(value, y + i);
  }
}
