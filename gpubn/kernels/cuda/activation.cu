#include "common.cuh"

// Activations of flat arrays; `kind` as in common.cuh. The cache of each is its output y.

template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    activation_forward(const T* x, T* y, long long packs, int kind) {
  for (long long i = blockIdx.x * (long long)THREADS + threadIdx.x; i < packs;
       i += (long long)gridDim.x * THREADS) {
    statistic<T> value[V];
    load<T, V>(x + i * V, value);
#pragma unroll
    for (int j = 0; j < V; ++j) value[j] = activate(kind, value[j]);
    store<T, V>(value, y + i * V);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    activation_backward(const T* dy, const T* y, T* dx, long long packs, int kind) {
  for (long long i = blockIdx.x * (long long)THREADS + threadIdx.x; i < packs;
       i += (long long)gridDim.x * THREADS) {
    statistic<T> gradient[V], value[V];
    load<T, V>(dy + i * V, gradient);
    load<T, V>(y + i * V, value);
#pragma unroll
    for (int j = 0; j < V; ++j) gradient[j] = through_activation(kind, gradient[j], value[j]);
    store<T, V>(gradient, dx + i * V);
  }
}
