#include "common.cuh"

// Means and variances of rows that several threads and blocks have seen, merged pairwise.

// Number of rows, and for each column their mean and the sum of squared differences from it; of
// values less the first row.
template <class S, int V>
struct Moments {
  S count, mean[V], squares[V];

  __device__ __forceinline__ void merge(S count_, const S (&mean_)[V], const S (&squares_)[V]) {
    const S total = count + count_;
    if (total == S(0)) return;
    const S share = count_ / total, weight = count * share;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const S delta = mean_[j] - mean[j];
      squares[j] += squares_[j] + delta * delta * weight;
      mean[j] += delta * share;
    }
    count = total;
  }
};

// A chunk's moments in memory: the count, then mean and squares of each column.
template <class S, int V>
struct StoredMoments {
  S value[1 + 2 * V];

  __device__ __forceinline__ void put(const Moments<S, V>& m) {
    value[0] = m.count;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      value[1 + j] = m.mean[j];
      value[1 + V + j] = m.squares[j];
    }
  }

  template <bool Fresh>
  __device__ __forceinline__ void merge_into(Moments<S, V>& m) const {
    S read[1 + 2 * V], mean[V], squares[V];
#pragma unroll
    for (int i = 0; i < 1 + 2 * V; ++i) read[i] = Fresh ? read_fresh(value + i) : value[i];
#pragma unroll
    for (int j = 0; j < V; ++j) {
      mean[j] = read[1 + j];
      squares[j] = read[1 + V + j];
    }
    m.merge(read[0], mean, squares);
  }
};

// Merges the moments of all rows of the block, in a fixed order, the same bits for every thread.
template <int V, class S>
__device__ __forceinline__ void merge_over_rows(Moments<S, V>& m, int lanes,
                                                StoredMoments<S, V>* scratch) {
  for (int offset = lanes; offset < 32; offset *= 2) {
    // Both partners merge the upper one's into the lower one's.
    const bool upper = threadIdx.x & offset;
    Moments<S, V> low, high;
    S other = __shfl_xor_sync(ALL_LANES, m.count, offset);
    low.count = upper ? other : m.count;
    high.count = upper ? m.count : other;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      other = __shfl_xor_sync(ALL_LANES, m.mean[j], offset);
      low.mean[j] = upper ? other : m.mean[j];
      high.mean[j] = upper ? m.mean[j] : other;
      other = __shfl_xor_sync(ALL_LANES, m.squares[j], offset);
      low.squares[j] = upper ? other : m.squares[j];
      high.squares[j] = upper ? m.squares[j] : other;
    }
    low.merge(high.count, high.mean, high.squares);
    m = low;
  }
  const int lane = threadIdx.x & (lanes - 1);
  if ((threadIdx.x & 31) < lanes) scratch[threadIdx.x / 32 * lanes + lane].put(m);
  __syncthreads();
  m = {};
  for (int w = 0; w < WARPS; ++w) scratch[w * lanes + lane].template merge_into<false>(m);
  __syncthreads();
}
