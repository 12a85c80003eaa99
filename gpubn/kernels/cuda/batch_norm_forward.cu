#include "batch_norm.cuh"
#include "moments.cuh"

// The forward pass in training: y, the statistics of the batch, and the running ones.

// Everything that a forward pass writes a column.
template <class S>
struct Outputs {
  S *mean, *shift, *inv_std, *var;
  S *running_mean, *running_spread;
  const S* momenta;
  S momentum;
  int average_std;

  __device__ __forceinline__ void write(int replica, long long at, const Column<S>& column, S v,
                                        int n, int dof) const {
    const S m = column.pivot + column.shift;
    mean[at] = m;
    shift[at] = column.shift;
    inv_std[at] = column.inv_std;
    var[at] = v;
    if (running_mean == nullptr) return;
    const S weight = momenta == nullptr ? momentum : momenta[replica];
    const S spread = average_std ? sqrt(v) : v * (S(dof) / S(n - 1));
    running_mean[at] += weight * (m - running_mean[at]);
    running_spread[at] += weight * (spread - running_spread[at]);
  }
};

#define FORWARD_PARAMETERS(T)                                                                   \
  const T *x, T *y, const statistic<T>*gamma, const statistic<T>*beta, int gamma_stride,        \
      int beta_stride, statistic<T>*mean, statistic<T>*shift, statistic<T>*inv_std,             \
      statistic<T>*var, statistic<T>*running_mean, statistic<T>*running_spread,                 \
      const statistic<T>*momenta, statistic<T> momentum, int average_std,                       \
      const statistic<T>*each_eps, statistic<T> eps, int n, int d, int dof, int activation,     \
      int lanes, int rows
#define FORWARD_ARGUMENTS                                                                      \
  x, y, gamma, beta, gamma_stride, beta_stride, mean, shift, inv_std, var, running_mean,        \
      running_spread, momenta, momentum, average_std, each_eps, eps, n, d, dof, activation, lanes, \
      rows

// Each of the C blocks of a cluster holds `rows` rows of one slab.
template <class T, int V, int C>
__device__ __forceinline__ void forward_slab(FORWARD_PARAMETERS(T)) {
  using S = statistic<T>;
  DYNAMIC_SHARED(shared);
  const int rank = blockIdx.x % C;
  const Slab slab(blockIdx.x / C, d, lanes, V);
  const int end = min(n, (rank + 1) * rows);
  T* tile = reinterpret_cast<T*>(shared);
  S* scratch = reinterpret_cast<S*>(shared + sizeof(T) * rows * lanes * V);
  const long long at = (long long)slab.replica * d + slab.column;
  const long long start = (long long)slab.replica * n * d + slab.column;

  // A thread reads back only what it copied itself, so no barrier is needed.
  if (slab.inside) {
    T* to = tile + threadIdx.x * V;
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, to += THREADS * V)
      copy_to_shared<sizeof(T) * V>(to, x + start + (long long)row * d);
  }
  S pivot[V] = {};
  if (slab.inside) load<T, V>(x + start, pivot);
  wait_for_copies();

  S sum[1][V] = {};
  const T* from = tile + threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, from += THREADS * V) {
      S value[V];
      load<T, V>(from, value);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[0][j] += value[j] - pivot[j];
    }
  sum_over_rows<C>(sum, lanes, scratch);
  Column<S> column[V];
#pragma unroll
  for (int j = 0; j < V; ++j) column[j] = {pivot[j], sum[0][j] / S(n), S(0)};

  // Centred values: their squares, and their sum, which is what rounding left in the shift.
  S centred[2][V] = {};
  from = tile + threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, from += THREADS * V) {
      S value[V];
      load<T, V>(from, value);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const S c = (value[j] - column[j].pivot) - column[j].shift;
        centred[0][j] += c;
        centred[1][j] += c * c;
      }
    }
  sum_over_rows<C>(centred, lanes, scratch + (WARPS + 1) * lanes * V);
  S g[V] = {}, b[V] = {};
  if (slab.inside) {
    parameter<V>(gamma, (long long)slab.replica * gamma_stride + slab.column, S(1), g);
    parameter<V>(beta, (long long)slab.replica * beta_stride + slab.column, S(0), b);
  }
  const S own_eps = each_eps == nullptr ? eps : each_eps[slab.replica];
  const Outputs<S> outputs{mean,           shift,   inv_std,  var,        running_mean,
                           running_spread, momenta, momentum, average_std};
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const S rest = centred[0][j] / S(n);
    const S squares = centred[1][j] - centred[0][j] * rest;
    const S v = (squares < S(0) ? S(0) : squares) / S(dof);
    column[j].shift += rest;
    column[j].inv_std = inverse_std(v, own_eps);
    if (slab.inside && slab.row == 0 && rank == 0)
      outputs.write(slab.replica, at + j, column[j], v, n, dof);
  }

  from = tile + threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, from += THREADS * V) {
      S value[V];
      load<T, V>(from, value);
#pragma unroll
      for (int j = 0; j < V; ++j)
        value[j] = activate(activation, scale_shift(g[j], column[j].hat(value[j]), b[j]));
      store<T, V>(value, y + start + (long long)row * d);
    }
  if constexpr (C > 1) cluster_sync();  // others may still read this block's sums
}

template <class T, int V>
__global__ void __launch_bounds__(THREADS, 2) batch_norm_forward_slab(FORWARD_PARAMETERS(T)) {
  forward_slab<T, V, 1>(FORWARD_ARGUMENTS);
}

#ifdef CLUSTER
template <class T, int V, int C>
__global__ void CLUSTER(C) __launch_bounds__(THREADS, 2)
    batch_norm_forward_cluster(FORWARD_PARAMETERS(T)) {
  forward_slab<T, V, C>(FORWARD_ARGUMENTS);
}
#endif

// `partial` is (slabs, chunks, lanes).
template <class T, int V>
__global__ void __launch_bounds__(THREADS, 2)
    batch_norm_forward_tiled(FORWARD_PARAMETERS(T), StoredMoments<statistic<T>, V>* partial,
                             unsigned* counters, int together, long long slabs) {
  using S = statistic<T>;
  constexpr int BURST = 4;  // rows in flight
  DYNAMIC_SHARED(shared);
  auto* scratch = reinterpret_cast<StoredMoments<S, V>*>(shared);
  const int chunks = (n + rows - 1) / rows;
  const Task task(take_ticket(counters, reinterpret_cast<unsigned*>(shared)), slabs, chunks,
                  together);
  if (task.slab >= slabs) return;
  const Slab slab(task.slab, d, lanes, V);
  unsigned* counter = counters + 1 + task.slab;
  const long long at = (long long)slab.replica * d + slab.column;
  const T* in = x + (long long)slab.replica * n * d + slab.column;
  T* out = y + (long long)slab.replica * n * d + slab.column;
  StoredMoments<S, V>* own = partial + task.slab * chunks * lanes + slab.lane;
  const int begin = task.chunk * rows, end = min(n, begin + rows);
  S pivot[V] = {};
  if (slab.inside) load<T, V>(in, pivot);
  Moments<S, V> m = {};

  if (!task.second) {
    if (slab.inside)
      for (int row = begin + slab.row; row < end; row += BURST * slab.stride) {
        S value[BURST][V];
        const int count = min(BURST, (end - row + slab.stride - 1) / slab.stride);
#pragma unroll
        for (int i = 0; i < BURST; ++i)
          if (i < count) load<T, V>(in + (long long)(row + i * slab.stride) * d, value[i]);
        S mean_[V], squares[V];
#pragma unroll
        for (int j = 0; j < V; ++j) {
          S sum = S(0);
          squares[j] = S(0);
#pragma unroll
          for (int i = 0; i < BURST; ++i)
            if (i < count) sum += value[i][j] - pivot[j];
          mean_[j] = sum / S(count);
#pragma unroll
          for (int i = 0; i < BURST; ++i)
            if (i < count) {
              const S c = (value[i][j] - pivot[j]) - mean_[j];
              squares[j] += c * c;
            }
        }
        m.merge(S(count), mean_, squares);
      }
    merge_over_rows(m, lanes, scratch);
    if (slab.row == 0) own[(long long)task.chunk * lanes].put(m);
    report_chunk(counter);
    return;
  }

  wait_for_chunks(counter, chunks);
  for (int chunk = slab.row; chunk < chunks; chunk += slab.stride)
    own[(long long)chunk * lanes].template merge_into<true>(m);
  merge_over_rows(m, lanes, scratch);
  if (!slab.inside) return;
  S g[V], b[V];
  parameter<V>(gamma, (long long)slab.replica * gamma_stride + slab.column, S(1), g);
  parameter<V>(beta, (long long)slab.replica * beta_stride + slab.column, S(0), b);
  const S own_eps = each_eps == nullptr ? eps : each_eps[slab.replica];
  const Outputs<S> outputs{mean,           shift,   inv_std,  var,        running_mean,
                           running_spread, momenta, momentum, average_std};
  Column<S> column[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const S v = m.squares[j] / S(dof);
    column[j] = {pivot[j], m.mean[j], inverse_std(v, own_eps)};
    if (slab.row == 0 && task.chunk == 0)
      outputs.write(slab.replica, at + j, column[j], v, n, dof);
  }
  for (int row = begin + slab.row; row < end; row += slab.stride) {
    S value[V];
    load<T, V>(in + (long long)row * d, value);
#pragma unroll
    for (int j = 0; j < V; ++j)
      value[j] = activate(activation, scale_shift(g[j], column[j].hat(value[j]), b[j]));
    store<T, V>(value, out + (long long)row * d);
  }
}
