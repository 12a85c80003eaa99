#include "common.cuh"

// Batch normalization over rows: x, y, dy, dx are (R, N, D), gamma and beta (R, D) or (D,), all
// statistics (R, D). T is how numbers are stored, S = statistic<T> how they are computed.
//
// The floor is 8 bytes an element forward (x in, y out) and 12 backward (x, dy in, dx out), in
// float32. x_hat is never stored: the backward pass computes it again, as (x - pivot) - shift with the
// first row for a pivot: where |mean| >> std, x - mean would lose the digits that this keeps.

// Statistics of a column as a thread keeps them to normalise.
template <class S>
struct Column {
  S pivot, shift, inv_std;

  __device__ __forceinline__ S hat(S x) const { return ((x - pivot) - shift) * inv_std; }
};

template <class S>
__device__ __forceinline__ S inverse_std(S var, S eps) {
  const S total = var + eps;
  return total == S(0) ? S(0) : S(1) / sqrt(total);
}

template <class S>
__device__ __forceinline__ S scale_shift(S gamma, S x_hat, S beta) {
  return fma(gamma, x_hat, beta);
}

// V values of a parameter, or a constant where there is none.
template <int V, class S>
__device__ __forceinline__ void parameter(const S* p, long long at, S otherwise, S (&out)[V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) out[j] = p == nullptr ? otherwise : p[at + j];
}

// What a launch is told in numbers; `_layout` of batch_norm_launch.py has the same order.
template <class S>
struct Numbers {
  S momentum, eps;
  long long units, slabs;  // units of all replicas
  int n, d, dof, activation, lanes, rows, together, gamma_stride, beta_stride, average_std,
      rate_stride;
};

// Which part of the work a block of a tiled kernel does. Slabs are split into `chunks` of rows;
// `together` slabs make a tile. In the order of the tickets: the first pass of tile 0, then by turns
// the first pass of a tile and the second pass of the tile before it, last the second pass of the
// last tile. Blocks side by side read whole rows; the second pass goes backwards, for what the first
// one read last is still in the cache.
struct Task {
  bool second;
  long long slab;
  int chunk;

  __device__ Task(long long ticket, long long slabs, int chunks, int together) {
    const long long tiles = (slabs + together - 1) / together;
    const long long of_tile = (long long)together * chunks;
    const long long turn = ticket / of_tile;
    long long within = ticket % of_tile;
    second = turn == 2 * tiles - 1 || (turn > 0 && turn % 2 == 0);
    if (second) within = of_tile - 1 - within;
    const long long tile = turn == 0 ? 0 : turn == 2 * tiles - 1 ? tiles - 1
                           : second  ? turn / 2 - 1 : (turn + 1) / 2;
    slab = tile * together + within % together;
    chunk = (int)(within / together);
  }
};

// Numbers blocks in the order in which they start. `counters[0]` counts them, `counters[1 + slab]`
// the finished chunks of a slab, and one more when its statistics are there; all are 0 before the
// launch. A block waits only for blocks of smaller numbers, which run already.
__device__ __forceinline__ long long take_ticket(unsigned* counters, unsigned* shared) {
  if (threadIdx.x == 0) *shared = atomicAdd(counters, 1u);
  __syncthreads();
  const long long ticket = *shared;
  __syncthreads();
  return ticket;
}

// Counts a finished chunk; true in the block that finished the last one of its slab, which now sees
// what the others wrote.
__device__ __forceinline__ bool is_last_chunk(unsigned* counter, int chunks, unsigned* shared) {
  publish();
  __syncthreads();
  if (threadIdx.x == 0) *shared = atomicAdd(counter, 1u);
  __syncthreads();
  const bool last = *shared == (unsigned)chunks - 1;
  __syncthreads();
  if (last) publish();
  return last;
}

__device__ __forceinline__ void report_statistics(unsigned* counter) {
  publish();
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(counter, 1u);
}

__device__ __forceinline__ void wait_for_statistics(unsigned* counter, int chunks) {
  if (threadIdx.x == 0) wait_until(counter, chunks + 1);
  __syncthreads();
}
