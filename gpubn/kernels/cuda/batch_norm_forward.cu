#include "batch_norm.cuh"
#include "moments.cuh"

// The forward pass in training: y, the statistics of the batch, and the running ones.
//
// `statistics` is (R, 4, D): mean, shift, inv_std, var. `bias`, (R, D) or none, is still to be added
// to x, of which it moves the mean and nothing else.

// Everything that a forward pass writes a column.
template <class S>
struct Outputs {
  S *statistics, *running_mean, *running_spread;
  const S *momenta, *bias;

  __device__ __forceinline__ void write(const Numbers<S>& p, const Slab& slab, int j,
                                        const Column<S>& column, S v) const {
    const long long at = (long long)slab.replica * p.d + slab.column + j;
    const S m = column.pivot + column.shift + (bias == nullptr ? S(0) : bias[at]);
    S* own = statistics + at + 3LL * slab.replica * p.d;
    own[0] = m;
    own[p.d] = column.shift;
    own[2 * p.d] = column.inv_std;
    own[3 * p.d] = v;
    if (running_mean == nullptr) return;
    const S weight = momenta == nullptr ? p.momentum : momenta[slab.replica];
    const S spread = p.average_std ? sqrt(v) : v * (S(p.dof) / S(p.n - 1));
    const S kept = S(1) - weight;
    running_mean[at] = kept * running_mean[at] + weight * m;
    running_spread[at] = kept * running_spread[at] + weight * spread;
  }
};

#define FORWARD_PARAMETERS(T)                                                                   \
  const T *x, T *y, const statistic<T>*gamma, const statistic<T>*beta, statistic<T>*statistics, \
      statistic<T>*running_mean, statistic<T>*running_spread, const statistic<T>*momenta,       \
      const statistic<T>*each_eps, const statistic<T>*bias, const Numbers<statistic<T>> p
#define FORWARD_ARGUMENTS \
  x, y, gamma, beta, statistics, running_mean, running_spread, momenta, each_eps, bias, p

// Each of the C blocks of a cluster holds `rows` rows of one slab.
template <class T, int V, int C>
__device__ __forceinline__ void forward_slab(FORWARD_PARAMETERS(T)) {
  using S = statistic<T>;
  DYNAMIC_SHARED(shared);
  const int rank = blockIdx.x % C, n = p.n, d = p.d, lanes = p.lanes;
  const Slab slab(blockIdx.x / C, d, lanes, V);
  const int end = min(n, (rank + 1) * p.rows);
  T* tile = reinterpret_cast<T*>(shared);
  S* scratch = reinterpret_cast<S*>(shared + sizeof(T) * p.rows * lanes * V);
  const long long start = (long long)slab.replica * n * d + slab.column;

  // A thread reads back only what it copied itself, so no barrier is needed.
  if (slab.inside) {
    T* to = tile + threadIdx.x * V;
    for (int row = rank * p.rows + slab.row; row < end; row += slab.stride, to += THREADS * V)
      copy_to_shared<sizeof(T) * V>(to, x + start + (long long)row * d);
  }
  S pivot[V] = {};
  if (slab.inside) load<T, V>(x + start, pivot);
  wait_for_copies();

  S sum[1][V] = {};
  const T* from = tile + threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * p.rows + slab.row; row < end; row += slab.stride, from += THREADS * V) {
      S value[V];
      load<T, V>(from, value);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[0][j] += value[j] - pivot[j];
    }
  sum_over_rows<C>(sum, lanes, scratch);
  Column<S> column[V];
  const S one_of_n = S(1) / S(n);
#pragma unroll
  for (int j = 0; j < V; ++j) column[j] = {pivot[j], sum[0][j] * one_of_n, S(0)};

  // Centred values: their squares, and their sum, which is what rounding left in the shift.
  S centred[2][V] = {};
  from = tile + threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * p.rows + slab.row; row < end; row += slab.stride, from += THREADS * V) {
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
  if constexpr (C > 1) cluster_arrive();
  S g[V] = {}, b[V] = {};
  if (slab.inside) {
    parameter<V>(gamma, (long long)slab.replica * p.gamma_stride + slab.column, S(1), g);
    parameter<V>(beta, (long long)slab.replica * p.beta_stride + slab.column, S(0), b);
  }
  const S eps = each_eps == nullptr ? p.eps : each_eps[slab.replica];
  const Outputs<S> outputs{statistics, running_mean, running_spread, momenta, bias};
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const S rest = centred[0][j] * one_of_n;
    const S squares = centred[1][j] - centred[0][j] * rest;
    const S v = (squares < S(0) ? S(0) : squares) / S(p.dof);
    column[j].shift += rest;
    column[j].inv_std = inverse_std(v, eps);
    if (slab.inside && slab.row == 0 && rank == 0) outputs.write(p, slab, j, column[j], v);
  }

  from = tile + threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * p.rows + slab.row; row < end; row += slab.stride, from += THREADS * V) {
      S value[V];
      load<T, V>(from, value);
#pragma unroll
      for (int j = 0; j < V; ++j)
        value[j] = activate(p.activation, scale_shift(g[j], column[j].hat(value[j]), b[j]));
      store<T, V>(value, y + start + (long long)row * d);
    }
  if constexpr (C > 1) cluster_wait();  // others may still read this block's sums
}

template <class T, int V>
__global__ void __launch_bounds__(THREADS, RESIDENT<T>) batch_norm_forward_slab(FORWARD_PARAMETERS(T)) {
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
                             unsigned* counters) {
  using S = statistic<T>;
  constexpr int BURST = 8;  // rows that a thread has in flight
  DYNAMIC_SHARED(shared);
  auto* scratch = reinterpret_cast<StoredMoments<S, V>*>(shared);
  auto* word = reinterpret_cast<unsigned*>(shared);
  const int n = p.n, d = p.d, lanes = p.lanes, chunks = (n + p.rows - 1) / p.rows;
  const Task task(take_ticket(counters, word), p.slabs, chunks, p.together);
  if (task.slab >= p.slabs) return;
  const Slab slab(task.slab, d, lanes, V);
  unsigned* counter = counters + 1 + task.slab;
  const T* in = x + (long long)slab.replica * n * d + slab.column;
  const int begin = task.chunk * p.rows, end = min(n, begin + p.rows);
  S pivot[V] = {};
  if (slab.inside) load<T, V>(in, pivot);

  if (!task.second) {
    StoredMoments<S, V>* own = partial + task.slab * chunks * lanes + slab.lane;
    Moments<S, V> m = {};
    if (slab.inside)
      for (int row = begin + slab.row; row < end; row += BURST * slab.stride) {
        S value[BURST][V];
        const int count = min(BURST, (end - row + slab.stride - 1) / slab.stride);
#pragma unroll
        for (int i = 0; i < BURST; ++i)
          if (i < count) load<T, V>(in + (long long)(row + i * slab.stride) * d, value[i]);
        S mean[V], squares[V];
#pragma unroll
        for (int j = 0; j < V; ++j) {
          S sum = S(0);
          squares[j] = S(0);
#pragma unroll
          for (int i = 0; i < BURST; ++i)
            if (i < count) sum += value[i][j] - pivot[j];
          mean[j] = sum / S(count);
#pragma unroll
          for (int i = 0; i < BURST; ++i)
            if (i < count) {
              const S c = (value[i][j] - pivot[j]) - mean[j];
              squares[j] += c * c;
            }
        }
        m.merge(S(count), mean, squares);
      }
    merge_over_rows(m, lanes, scratch);
    if (slab.row == 0) own[(long long)task.chunk * lanes].put(m);
    if (!is_last_chunk(counter, chunks, word)) return;

    m = {};
    for (int chunk = slab.row; chunk < chunks; chunk += slab.stride)
      own[(long long)chunk * lanes].template merge_into<true>(m);
    merge_over_rows(m, lanes, scratch);
    if (slab.inside && slab.row == 0) {
      const Outputs<S> outputs{statistics, running_mean, running_spread, momenta, bias};
      const S eps = each_eps == nullptr ? p.eps : each_eps[slab.replica];
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const S v = m.squares[j] / S(p.dof);
        outputs.write(p, slab, j, {pivot[j], m.mean[j], inverse_std(v, eps)}, v);
      }
    }
    report_statistics(counter);
    return;
  }

  S g[V], b[V];
  if (slab.inside) {
    parameter<V>(gamma, (long long)slab.replica * p.gamma_stride + slab.column, S(1), g);
    parameter<V>(beta, (long long)slab.replica * p.beta_stride + slab.column, S(0), b);
  }
  wait_for_statistics(counter, chunks);
  if (!slab.inside) return;
  T* out = y + (long long)slab.replica * n * d + slab.column;
  Column<S> column[V];
  const S* own = statistics + (4LL * slab.replica + 1) * d + slab.column;
#pragma unroll
  for (int j = 0; j < V; ++j) column[j] = {pivot[j], read_fresh(own + j), read_fresh(own + d + j)};
  for (int row = begin + slab.row; row < end; row += BURST * slab.stride) {
    S value[BURST][V];
#pragma unroll
    for (int i = 0; i < BURST; ++i)
      if (row + i * slab.stride < end)
        load<T, V>(in + (long long)(row + i * slab.stride) * d, value[i]);
#pragma unroll
    for (int i = 0; i < BURST; ++i)
      if (row + i * slab.stride < end) {
#pragma unroll
        for (int j = 0; j < V; ++j)
          value[i][j] = activate(
              p.activation, scale_shift(g[j], column[j].hat(value[i][j]), b[j]));
        store<T, V>(value[i], out + (long long)(row + i * slab.stride) * d);
      }
  }
}
