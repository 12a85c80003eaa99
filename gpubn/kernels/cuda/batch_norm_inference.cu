#include "batch_norm.cuh"

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
