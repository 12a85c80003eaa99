// Batch normalization over rows: x, y, dy, dx are (R, N, D), gamma and beta (R, D) or (D,), all
// statistics (R, D). T is how numbers are stored, S = statistic<T> how they are computed.
//
// The floor is 8 bytes an element forward (x in, y out) and 12 backward (x, dy in, dx out), in
// float32. x_hat is never stored: the backward pass computes it again, as (x - pivot) - shift with the
// first row for a pivot: where |mean| >> std, x - mean would lose the digits that this keeps.
//
// Versions, and what each one bought. None has been timed: no device was at hand. Bytes are counted,
// an element, forward + backward; registers are what ptxas reports for sm_90.
//   1. Array expressions (the oracle): every expression a pass, 60 + 48 bytes.
//   2. Three kernels a direction, as the peers do it, would be 12 + 20 bytes: not written.
//   3. Slab: a block keeps its columns in shared memory: 8 + 12 bytes, one launch each; rows are
//      limited by shared memory. The pass over x_hat comes free, so the variance is computed from
//      the centred values and the mean corrected once more.
//   4. Slab of a cluster (sm_90): up to 8 blocks hold one slab and add their sums through
//      distributed shared memory: 8 times the rows, and more blocks where columns are few.
//   5. Tiled (any length): two passes in one launch. Blocks take numbers in order; the blocks of the
//      second pass of a tile follow those of its first pass at a distance of one tile, so that what
//      they read again is still in the L2 cache: 8 + 12 bytes from memory if it holds.
//      A block waits only for blocks of smaller numbers, which run already: no deadlock, and no need
//      for all blocks to be resident. Its partial statistics are merged pairwise (Chan, Golub and
//      LeVeque 1983) of values less the first row, and share one count for all columns of a thread.
//   6. Half precision moves 4 numbers at a time instead of 8: 128 registers became 96.
//   7. Bounds of two blocks on a multiprocessor: without them ptxas aimed at 64 registers and spilled.
//   8. A cluster reads its partners' sums as vectors: 8 addresses an exchange instead of 96.

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

#define BACKWARD_PARAMETERS(T)                                                                 \
  const T *x, const T *dy, T *dx, const statistic<T>*gamma, const statistic<T>*beta,            \
      int gamma_stride, int beta_stride, const statistic<T>*shift,                              \
      const statistic<T>*inv_std, statistic<T>*dgamma, statistic<T>*dbeta, int n, int d, int dof, \
      int activation, int lanes, int rows
#define BACKWARD_ARGUMENTS                                                                    \
  x, dy, dx, gamma, beta, gamma_stride, beta_stride, shift, inv_std, dgamma, dbeta, n, d, dof, \
      activation, lanes, rows

// What a thread of the backward pass knows of its columns.
template <class S, int V>
struct Gradient {
  Column<S> column[V];
  S gamma[V], beta[V];
  int activation;

  template <class T>
  __device__ __forceinline__ Gradient(const Slab& slab, const T* x, int n, int d, const S* shift,
                                      const S* inv_std, const S* gamma_, const S* beta_,
                                      int gamma_stride, int beta_stride, int activation_)
      : column{}, gamma{}, beta{}, activation(activation_) {
    if (!slab.inside) return;
    const long long at = (long long)slab.replica * d + slab.column;
    S pivot[V];
    load<T, V>(x + (long long)slab.replica * n * d + slab.column, pivot);
#pragma unroll
    for (int j = 0; j < V; ++j) column[j] = {pivot[j], shift[at + j], inv_std[at + j]};
    parameter<V>(gamma_, (long long)slab.replica * gamma_stride + slab.column, S(1), gamma);
    parameter<V>(beta_, (long long)slab.replica * beta_stride + slab.column, S(0), beta);
  }

  // x becomes x_hat, dy the gradient before the activation.
  __device__ __forceinline__ void recompute(S (&x)[V], S (&dy)[V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      x[j] = column[j].hat(x[j]);
      if (activation != LINEAR)
        dy[j] = through_activation(activation, dy[j],
                                   activate(activation, scale_shift(gamma[j], x[j], beta[j])));
    }
  }

  // sums[0] of dy, sums[1] of dy x_hat.
  __device__ __forceinline__ void add(const S (&x_hat)[V], const S (&dy)[V], S (&sums)[2][V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      sums[0][j] += dy[j];
      sums[1][j] += dy[j] * x_hat[j];
    }
  }

  // dx = gamma inv_std (dy - sums[0] / n - x_hat sums[1] / dof), into x_hat.
  __device__ __forceinline__ void finish(S (&x_hat)[V], const S (&dy)[V], const S (&sums)[2][V],
                                         int n, int dof) const {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const S rest = dy[j] - sums[0][j] / S(n) - x_hat[j] * (sums[1][j] / S(dof));
      x_hat[j] = gamma[j] * column[j].inv_std * rest;
    }
  }
};

template <class T, int V, int C>
__device__ __forceinline__ void backward_slab(BACKWARD_PARAMETERS(T)) {
  using S = statistic<T>;
  DYNAMIC_SHARED(shared);
  const int rank = blockIdx.x % C;
  const Slab slab(blockIdx.x / C, d, lanes, V);
  const int end = min(n, (rank + 1) * rows);
  T* x_tile = reinterpret_cast<T*>(shared);
  T* dy_tile = x_tile + rows * lanes * V;
  S* scratch = reinterpret_cast<S*>(shared + 2 * sizeof(T) * rows * lanes * V);
  const long long at = (long long)slab.replica * d + slab.column;
  const long long start = (long long)slab.replica * n * d + slab.column;

  int place = threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, place += THREADS * V) {
      const long long here = start + (long long)row * d;
      copy_to_shared<sizeof(T) * V>(x_tile + place, x + here);
      copy_to_shared<sizeof(T) * V>(dy_tile + place, dy + here);
    }
  const Gradient<S, V> gradient(slab, x, n, d, shift, inv_std, gamma, beta, gamma_stride, beta_stride,
                                activation);
  wait_for_copies();

  S sums[2][V] = {};
  place = threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, place += THREADS * V) {
      S value[V], g[V];
      load<T, V>(x_tile + place, value);
      load<T, V>(dy_tile + place, g);
      gradient.recompute(value, g);
      gradient.add(value, g, sums);
    }
  sum_over_rows<C>(sums, lanes, scratch);
  if (slab.inside && slab.row == 0 && rank == 0) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      dbeta[at + j] = sums[0][j];
      dgamma[at + j] = sums[1][j];
    }
  }

  place = threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, place += THREADS * V) {
      S value[V], g[V];
      load<T, V>(x_tile + place, value);
      load<T, V>(dy_tile + place, g);
      gradient.recompute(value, g);
      gradient.finish(value, g, sums, n, dof);
      store<T, V>(value, dx + start + (long long)row * d);
    }
  if constexpr (C > 1) cluster_sync();
}

template <class T, int V>
__global__ void __launch_bounds__(THREADS, 2) batch_norm_backward_slab(BACKWARD_PARAMETERS(T)) {
  backward_slab<T, V, 1>(BACKWARD_ARGUMENTS);
}

#ifdef CLUSTER
template <class T, int V, int C>
__global__ void CLUSTER(C) __launch_bounds__(THREADS, 2)
    batch_norm_forward_cluster(FORWARD_PARAMETERS(T)) {
  forward_slab<T, V, C>(FORWARD_ARGUMENTS);
}

template <class T, int V, int C>
__global__ void CLUSTER(C) __launch_bounds__(THREADS, 2)
    batch_norm_backward_cluster(BACKWARD_PARAMETERS(T)) {
  backward_slab<T, V, C>(BACKWARD_ARGUMENTS);
}
#endif

// Which part of the work a block of a tiled kernel does. Slabs are split into `chunks` of rows;
// `together` slabs make a tile. In the order of the tickets: the first pass of tile 0, then by turns
// the first pass of a tile and the second pass of the tile before it, last the second pass of the
// last tile.
struct Task {
  bool second;
  long long slab;
  int chunk;

  __device__ Task(long long ticket, long long slabs, int chunks, int together) {
    const long long tiles = (slabs + together - 1) / together;
    const long long of_tile = (long long)together * chunks;
    const long long turn = ticket / of_tile, within = ticket % of_tile;
    second = turn == 2 * tiles - 1 || (turn > 0 && turn % 2 == 0);
    const long long tile = turn == 0 ? 0 : turn == 2 * tiles - 1 ? tiles - 1
                           : second  ? turn / 2 - 1 : (turn + 1) / 2;
    slab = tile * together + within / chunks;
    chunk = (int)(within % chunks);
  }
};

// Numbers blocks in the order in which they start. `counters[0]` counts them, `counters[1 + slab]`
// the finished chunks of a slab; all are 0 before the launch.
__device__ __forceinline__ long long take_ticket(unsigned* counters, unsigned* shared) {
  if (threadIdx.x == 0) *shared = atomicAdd(counters, 1u);
  __syncthreads();
  const long long ticket = *shared;
  __syncthreads();
  return ticket;
}

__device__ __forceinline__ void report_chunk(unsigned* counter) {
  publish();
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(counter, 1u);
}

__device__ __forceinline__ void wait_for_chunks(unsigned* counter, int chunks) {
  if (threadIdx.x == 0) wait_until(counter, chunks);
  __syncthreads();
}

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

// `partial` holds 2 values of each column of each chunk, (slabs, chunks, lanes * V, 2).
template <class T, int V>
__global__ void __launch_bounds__(THREADS, 2)
    batch_norm_backward_tiled(BACKWARD_PARAMETERS(T), statistic<T>* partial, unsigned* counters,
                              int together, long long slabs) {
  using S = statistic<T>;
  DYNAMIC_SHARED(shared);
  S* scratch = reinterpret_cast<S*>(shared);
  const int chunks = (n + rows - 1) / rows;
  const Task task(take_ticket(counters, reinterpret_cast<unsigned*>(shared)), slabs, chunks,
                  together);
  if (task.slab >= slabs) return;
  const Slab slab(task.slab, d, lanes, V);
  unsigned* counter = counters + 1 + task.slab;
  const long long at = (long long)slab.replica * d + slab.column;
  const long long start = (long long)slab.replica * n * d + slab.column;
  S* own = partial + (task.slab * chunks * lanes + slab.lane) * V * 2;
  const int begin = task.chunk * rows, end = min(n, begin + rows);
  const Gradient<S, V> gradient(slab, x, n, d, shift, inv_std, gamma, beta, gamma_stride, beta_stride,
                                activation);
  S sums[2][V] = {};

  if (!task.second) {
    if (slab.inside)
      for (int row = begin + slab.row; row < end; row += slab.stride) {
        S value[V], g[V];
        load<T, V>(x + start + (long long)row * d, value);
        load<T, V>(dy + start + (long long)row * d, g);
        gradient.recompute(value, g);
        gradient.add(value, g, sums);
      }
    sum_over_rows<1>(sums, lanes, scratch);
    if (slab.row == 0) {
#pragma unroll
      for (int j = 0; j < V; ++j) {
        own[((long long)task.chunk * lanes * V + j) * 2] = sums[0][j];
        own[((long long)task.chunk * lanes * V + j) * 2 + 1] = sums[1][j];
      }
    }
    report_chunk(counter);
    return;
  }

  wait_for_chunks(counter, chunks);
  for (int chunk = slab.row; chunk < chunks; chunk += slab.stride) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const S* from = own + ((long long)chunk * lanes * V + j) * 2;
      sums[0][j] += read_fresh(from);
      sums[1][j] += read_fresh(from + 1);
    }
  }
  sum_over_rows<1>(sums, lanes, scratch);
  if (!slab.inside) return;
  if (slab.row == 0 && task.chunk == 0) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      dbeta[at + j] = sums[0][j];
      dgamma[at + j] = sums[1][j];
    }
  }
  for (int row = begin + slab.row; row < end; row += slab.stride) {
    S value[V], g[V];
    load<T, V>(x + start + (long long)row * d, value);
    load<T, V>(dy + start + (long long)row * d, g);
    gradient.recompute(value, g);
    gradient.finish(value, g, sums, n, dof);
    store<T, V>(value, dx + start + (long long)row * d);
  }
}

// y = activation(gamma (x - mean) / sqrt(var + eps) + beta); a block does `rows` rows of a slab.
// x has a stride of 0 between replicas where all of them share it.
template <class T, int V>
__global__ void __launch_bounds__(THREADS, 2)
    batch_norm_inference(const T* x, T* y, const statistic<T>* mean, const statistic<T>* var,
                         const statistic<T>* gamma, const statistic<T>* beta, int mean_stride,
                         int var_stride, int gamma_stride, int beta_stride,
                         const statistic<T>* each_eps, statistic<T> eps, int n, int d,
                         int activation, int lanes, int rows) {
  using S = statistic<T>;
  const int chunks = (n + rows - 1) / rows;
  const Slab slab(blockIdx.x / chunks, d, lanes, V);
  if (!slab.inside) return;
  const long long replica = slab.replica;
  const S own_eps = each_eps == nullptr ? eps : each_eps[replica];
  S g[V], b[V], m[V], inv_std[V];
  parameter<V>(gamma, replica * gamma_stride + slab.column, S(1), g);
  parameter<V>(beta, replica * beta_stride + slab.column, S(0), b);
  parameter<V>(mean, replica * mean_stride + slab.column, S(0), m);
  parameter<V>(var, replica * var_stride + slab.column, S(1), inv_std);
#pragma unroll
  for (int j = 0; j < V; ++j) inv_std[j] = inverse_std(inv_std[j], own_eps);
  const int begin = (int)(blockIdx.x % chunks) * rows, end = min(n, begin + rows);
  const long long start = replica * n * d + slab.column;
  for (int row = begin + slab.row; row < end; row += slab.stride) {
    S value[V];
    load<T, V>(x + start + (long long)row * d, value);
#pragma unroll
    for (int j = 0; j < V; ++j)
      value[j] = activate(activation, scale_shift(g[j], (value[j] - m[j]) * inv_std[j], b[j]));
    store<T, V>(value, y + start + (long long)row * d);
  }
}
