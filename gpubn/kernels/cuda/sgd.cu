#include "common.cuh"

// parameter -= rate * gradient for one or two arrays (R, D) at once, one rate or one a replica.
template <class T>
__global__ void __launch_bounds__(THREADS)
    sgd_descend(T* first, const T* first_gradient, T* second, const T* second_gradient,
                const T* rates, int rate_stride, long long size, long long replica_size) {
  for (long long i = blockIdx.x * (long long)THREADS + threadIdx.x; i < size;
       i += (long long)gridDim.x * THREADS) {
    const T rate = rates[i / replica_size * rate_stride];
    first[i] -= rounded_product(rate, first_gradient[i]);  // the bits of the CPU
    if (second != nullptr) second[i] -= rounded_product(rate, second_gradient[i]);
  }
}

// average = momentum * average + rest * gradient; parameter -= rate * average, of arrays (R, D).
template <class T>
__global__ void __launch_bounds__(THREADS)
    sgd_descend_averaged(T* parameter, const T* gradient, T* average, const T* rates,
                         int rate_stride, long long size, long long replica_size, T momentum,
                         T rest) {
  for (long long i = blockIdx.x * (long long)THREADS + threadIdx.x; i < size;
       i += (long long)gridDim.x * THREADS) {
    const T kept = rounded_product(momentum, average[i]);
    const T step = kept + rounded_product(rest, gradient[i]);  // the bits of the CPU
    average[i] = step;
    parameter[i] -= rounded_product(rates[i / replica_size * rate_stride], step);
  }
}
