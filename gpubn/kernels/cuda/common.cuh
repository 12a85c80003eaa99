#include "platform.cuh"

// What the kernels share: packs of numbers, activations, places in a slab, sums over its rows.

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
// Blocks of a slab kernel that fit on a multiprocessor, where shared memory allows it.
template <class T>
constexpr int RESIDENT = sizeof(T) == 4 ? 4 : 3;

// Statistics are float32 at least.
template <class T>
struct Statistic {
  using type = float;
};
template <>
struct Statistic<double> {
  using type = double;
};
template <class T>
using statistic = typename Statistic<T>::type;

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T value[V];
};

template <class T, int V>
__device__ __forceinline__ void load(const T* from, statistic<T> (&to)[V]) {
  const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(from);
#pragma unroll
  for (int j = 0; j < V; ++j) to[j] = widen(pack.value[j]);
}

template <class T, int V>
__device__ __forceinline__ void store(const statistic<T> (&from)[V], T* to) {
  Pack<T, V> pack;
#pragma unroll
  for (int j = 0; j < V; ++j) narrow(from[j], pack.value[j]);
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

enum Activation { LINEAR = 0, RELU = 1, TANH = 2, SIGMOID = 3 };

// NaN passes through each of them.
template <class S>
__device__ __forceinline__ S activate(int activation, S z) {
  if (activation == RELU) return z <= S(0) ? S(0) : z;
  if (activation == TANH) return tanh(z);
  if (activation == SIGMOID) {
    const S e = exp(-fabs(z));  // never overflows
    return (z >= S(0) ? S(1) : e) / (S(1) + e);
  }
  return z;
}

// The gradient before an activation whose output is y.
template <class S>
__device__ __forceinline__ S through_activation(int activation, S dy, S y) {
  if (activation == RELU) return y <= S(0) ? S(0) : dy;
  if (activation == TANH) return dy * (S(1) - y * y);
  if (activation == SIGMOID) return dy * ((S(1) - y) * y);
  return dy;
}

// A slab is `lanes * V` columns of one replica. A thread owns V columns of every
// `THREADS / lanes`-th row; `lanes` is a power of two, 32 at most.
struct Slab {
  int replica, lane, row, stride, column;
  bool inside;

  __device__ Slab(long long slab, int d, int lanes, int v) {
    const int across = (d + lanes * v - 1) / (lanes * v);
    replica = (int)(slab / across);
    lane = threadIdx.x & (lanes - 1);
    row = threadIdx.x / lanes;
    stride = THREADS / lanes;
    column = ((int)(slab % across) * lanes + lane) * v;
    inside = column < d;
  }
};

// Sums K values of each of V columns over all rows of the slab, in a fixed order, the same bits for
// every thread. `scratch` holds (WARPS + 1) * lanes * K * V values and is used once.
template <int C, int K, int V, class S>
__device__ __forceinline__ void sum_over_rows(S (&value)[K][V], int lanes, S* scratch) {
  for (int offset = lanes; offset < 32; offset *= 2) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
      for (int j = 0; j < V; ++j) value[k][j] += __shfl_xor_sync(ALL_LANES, value[k][j], offset);
  }
  const int warp = threadIdx.x / 32, width = lanes * K;
  auto* own = reinterpret_cast<Pack<S, V>*>(scratch) + (threadIdx.x & (lanes - 1)) * K;
  if ((threadIdx.x & 31) < lanes) {
#pragma unroll
    for (int k = 0; k < K; ++k) store<S, V>(value[k], own[warp * width + k].value);
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < K; ++k) load<S, V>(own[k].value, value[k]);
#pragma unroll
  for (int w = 1; w < WARPS; ++w) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      S part[V];
      load<S, V>(own[w * width + k].value, part);
#pragma unroll
      for (int j = 0; j < V; ++j) value[k][j] += part[j];
    }
  }
  if constexpr (C > 1) {
    own += WARPS * width;
    if (threadIdx.x < lanes) {
#pragma unroll
      for (int k = 0; k < K; ++k) store<S, V>(value[k], own[k].value);
    }
    cluster_sync();
    Pack<S, V> total[K] = {};
#pragma unroll
    for (int rank = 0; rank < C; ++rank) {
      const Pack<S, V>* there = in_block(own, rank);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const Pack<S, V> part = there[k];
#pragma unroll
        for (int j = 0; j < V; ++j) total[k].value[j] += part.value[j];
      }
    }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
      for (int j = 0; j < V; ++j) value[k][j] = total[k].value[j];
  }
}
