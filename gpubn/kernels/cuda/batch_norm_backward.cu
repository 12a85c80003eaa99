#include "batch_norm.cuh"

// The backward pass: dx, dgamma, dbeta of x and dy.

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
    batch_norm_backward_cluster(BACKWARD_PARAMETERS(T)) {
  backward_slab<T, V, C>(BACKWARD_ARGUMENTS);
}
#endif

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
