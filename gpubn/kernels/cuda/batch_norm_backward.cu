#include "batch_norm.cuh"

// The backward pass: dx, dgamma, dbeta of x and dy.
//
// `statistics` is that of the forward pass, (R, 4, D); `gradients` is (2, R, D): dgamma, dbeta. With
// `rates`, of slabs and clusters alone, gamma and beta (R, D) take their step instead, and `scaled`,
// where it is given, is rate * dx.

#define BACKWARD_PARAMETERS(T)                                                                   \
  const T *x, const T *dy, T *dx, T *scaled, statistic<T>*gamma, statistic<T>*beta,               \
      const statistic<T>*statistics, statistic<T>*gradients, const statistic<T>*rates,            \
      const Numbers<statistic<T>> p
#define BACKWARD_ARGUMENTS x, dy, dx, scaled, gamma, beta, statistics, gradients, rates, p

// What a thread of the backward pass knows of its columns.
template <class S, int V>
struct Gradient {
  Column<S> column[V];
  S gamma[V], beta[V];

  template <class T>
  __device__ __forceinline__ Gradient(const Numbers<S>& p, const Slab& slab, const T* x,
                                      const S* statistics, const S* gamma_, const S* beta_)
      : column{}, gamma{}, beta{} {
    if (!slab.inside) return;
    const S* at = statistics + (4LL * slab.replica + 1) * p.d + slab.column;
    S pivot[V];
    load<T, V>(x + (long long)slab.replica * p.n * p.d + slab.column, pivot);
#pragma unroll
    for (int j = 0; j < V; ++j) column[j] = {pivot[j], at[j], at[p.d + j]};
    parameter<V>(gamma_, (long long)slab.replica * p.gamma_stride + slab.column, S(1), gamma);
    parameter<V>(beta_, (long long)slab.replica * p.beta_stride + slab.column, S(0), beta);
  }

  // x becomes x_hat, dy the gradient before the activation.
  __device__ __forceinline__ void recompute(int activation, S (&x)[V], S (&dy)[V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      x[j] = column[j].hat(x[j]);
      if (activation != LINEAR)
        dy[j] = through_activation(
            activation, dy[j],
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

  // dx = gamma inv_std (dy - means[0] - x_hat means[1]), into x_hat.
  __device__ __forceinline__ void finish(S (&x_hat)[V], const S (&dy)[V],
                                         const S (&means)[2][V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j)
      x_hat[j] = gamma[j] * column[j].inv_std * (dy[j] - means[0][j] - x_hat[j] * means[1][j]);
  }
};

// Writes the sums to dbeta and dgamma.
template <int V, class S>
__device__ __forceinline__ void write_gradients(const Numbers<S>& p, long long at,
                                                const S (&sums)[2][V], S* gradients) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    gradients[at + j] = sums[1][j];
    gradients[p.units + at + j] = sums[0][j];
  }
}

// parameter -= rate * gradient of gamma and beta, where there are any.
template <int V, class S>
__device__ __forceinline__ void descend(long long at, const S (&sums)[2][V], S rate, S* gamma,
                                        S* beta) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    if (gamma != nullptr) gamma[at + j] -= rounded_product(rate, sums[1][j]);  // the bits of sgd.cu
    if (beta != nullptr) beta[at + j] -= rounded_product(rate, sums[0][j]);
  }
}

// Sums become what is subtracted: of dy their mean, of dy x_hat the mean over the degrees of freedom.
template <int V, class S>
__device__ __forceinline__ void to_means(const Numbers<S>& p, S (&sums)[2][V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    sums[0][j] *= S(1) / S(p.n);
    sums[1][j] *= S(1) / S(p.dof);
  }
}

template <class T, int V, int C>
__device__ __forceinline__ void backward_slab(BACKWARD_PARAMETERS(T)) {
  using S = statistic<T>;
  DYNAMIC_SHARED(shared);
  const int rank = blockIdx.x % C, n = p.n, d = p.d, lanes = p.lanes, rows = p.rows;
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
  const Gradient<S, V> gradient(p, slab, x, statistics, gamma, beta);
  wait_for_copies();

  S sums[2][V] = {};
  place = threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, place += THREADS * V) {
      S value[V], g[V];
      load<T, V>(x_tile + place, value);
      load<T, V>(dy_tile + place, g);
      gradient.recompute(p.activation, value, g);
      gradient.add(value, g, sums);
    }
  sum_over_rows<C>(sums, lanes, scratch);
  if constexpr (C > 1) cluster_arrive();
  const S rate = rates == nullptr ? S(0) : rates[slab.replica * p.rate_stride];
  if (slab.inside && slab.row == 0 && rank == 0) {
    if (rates == nullptr) write_gradients(p, at, sums, gradients);
    else descend<V>(at, sums, rate, gamma, beta);  // who reads them has read them
  }
  to_means(p, sums);

  place = threadIdx.x * V;
  if (slab.inside)
    for (int row = rank * rows + slab.row; row < end; row += slab.stride, place += THREADS * V) {
      S value[V], g[V];
      load<T, V>(x_tile + place, value);
      load<T, V>(dy_tile + place, g);
      gradient.recompute(p.activation, value, g);
      gradient.finish(value, g, sums);
      store<T, V>(value, dx + start + (long long)row * d);
      if (scaled == nullptr) continue;
#pragma unroll
      for (int j = 0; j < V; ++j) value[j] *= rate;
      store<T, V>(value, scaled + start + (long long)row * d);
    }
  if constexpr (C > 1) cluster_wait();  // others may still read this block's sums
}

template <class T, int V>
__global__ void __launch_bounds__(THREADS, RESIDENT<T>) batch_norm_backward_slab(BACKWARD_PARAMETERS(T)) {
  backward_slab<T, V, 1>(BACKWARD_ARGUMENTS);
}

#ifdef CLUSTER
template <class T, int V, int C>
__global__ void CLUSTER(C) __launch_bounds__(THREADS, 2)
    batch_norm_backward_cluster(BACKWARD_PARAMETERS(T)) {
  backward_slab<T, V, C>(BACKWARD_ARGUMENTS);
}
#endif

// `partial` holds 2 values of each column of each chunk, (slabs, chunks, 2, lanes * V).
template <class T, int V>
__global__ void __launch_bounds__(THREADS, 2)
    batch_norm_backward_tiled(BACKWARD_PARAMETERS(T), statistic<T>* partial, unsigned* counters) {
  using S = statistic<T>;
  constexpr int BURST = 4;  // rows that a thread has in flight
  DYNAMIC_SHARED(shared);
  S* scratch = reinterpret_cast<S*>(shared);
  auto* word = reinterpret_cast<unsigned*>(shared);
  const int n = p.n, d = p.d, lanes = p.lanes, chunks = (n + p.rows - 1) / p.rows;
  const Task task(take_ticket(counters, word), p.slabs, chunks, p.together);
  if (task.slab >= p.slabs) return;
  const Slab slab(task.slab, d, lanes, V);
  unsigned* counter = counters + 1 + task.slab;
  const long long at = (long long)slab.replica * d + slab.column;
  const long long start = (long long)slab.replica * n * d + slab.column;
  const int begin = task.chunk * p.rows, end = min(n, begin + p.rows), width = lanes * V;
  const Gradient<S, V> gradient(p, slab, x, statistics, gamma, beta);
  S sums[2][V] = {};

  if (!task.second) {
    S* own = partial + task.slab * chunks * 2 * width + slab.lane * V;
    if (slab.inside)
      for (int row = begin + slab.row; row < end; row += BURST * slab.stride) {
        S value[BURST][V], g[BURST][V];
#pragma unroll
        for (int i = 0; i < BURST; ++i)
          if (row + i * slab.stride < end) {
            const long long here = start + (long long)(row + i * slab.stride) * d;
            load<T, V>(x + here, value[i]);
            load<T, V>(dy + here, g[i]);
          }
#pragma unroll
        for (int i = 0; i < BURST; ++i)
          if (row + i * slab.stride < end) {
            gradient.recompute(p.activation, value[i], g[i]);
            gradient.add(value[i], g[i], sums);
          }
      }
    sum_over_rows<1>(sums, lanes, scratch);
    if (slab.row == 0) {
      store<S, V>(sums[0], own + (long long)task.chunk * 2 * width);
      store<S, V>(sums[1], own + (long long)task.chunk * 2 * width + width);
    }
    if (!is_last_chunk(counter, chunks, word)) return;

    S total[2][V] = {};
#pragma unroll 4
    for (int chunk = slab.row; chunk < chunks; chunk += slab.stride) {
      const S* from = own + (long long)chunk * 2 * width;
#pragma unroll
      for (int j = 0; j < V; ++j) {
        total[0][j] += read_fresh(from + j);
        total[1][j] += read_fresh(from + width + j);
      }
    }
    sum_over_rows<1>(total, lanes, scratch);
    if (slab.inside && slab.row == 0) write_gradients(p, at, total, gradients);
    report_statistics(counter);
    return;
  }

  wait_for_statistics(counter, chunks);
  if (!slab.inside) return;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    sums[0][j] = read_fresh(gradients + p.units + at + j);
    sums[1][j] = read_fresh(gradients + at + j);
  }
  to_means(p, sums);
  for (int row = begin + slab.row; row < end; row += BURST * slab.stride) {
    S value[BURST][V], g[BURST][V];
#pragma unroll
    for (int i = 0; i < BURST; ++i)
      if (row + i * slab.stride < end) {
        const long long here = start + (long long)(row + i * slab.stride) * d;
        load<T, V>(x + here, value[i]);
        load<T, V>(dy + here, g[i]);
      }
#pragma unroll
    for (int i = 0; i < BURST; ++i)
      if (row + i * slab.stride < end) {
        gradient.recompute(p.activation, value[i], g[i]);
        gradient.finish(value[i], g[i], sums);
        store<T, V>(value[i], dx + start + (long long)(row + i * slab.stride) * d);
      }
  }
}
