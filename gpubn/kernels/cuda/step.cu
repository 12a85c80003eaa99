#include "common.cuh"

// Both ends of a training step. `cursor` counts the steps on the device, so that one recorded step
// can be replayed: what differs from step to step is looked up in tables by it.

// x[r, b] = data[order[step, r, b]] of one example, its label likewise. A block copies it.
template <class T, int V>
__device__ __forceinline__ void fetch(const T* data, const long long* labels,
                                      const long long* order, long long step, T* x,
                                      long long* own_labels, int example, int examples,
                                      int features) {
  const long long row = order[step * examples + example];
  const T* from = data + row * features;
  T* to = x + (long long)example * features;
#pragma unroll 2
  for (int i = threadIdx.x * V; i < features; i += THREADS * V)
    *reinterpret_cast<Pack<T, V>*>(to + i) = *reinterpret_cast<const Pack<T, V>*>(from + i);
  if (threadIdx.x == 0) own_labels[example] = labels[row];
}

template <class T>
__device__ __forceinline__ void fetch_rates(const T* rates, long long step, T* own_rates,
                                            int rate_count) {
  for (int r = threadIdx.x; r < rate_count; r += THREADS)
    own_rates[r] = rates[step * rate_count + r];
}

// The batch and the rates of this step.
template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    step_begin(const T* data, const long long* labels, const long long* order, const T* rates,
               const long long* cursor, T* x, long long* own_labels, T* own_rates, int examples,
               int features, int rate_count) {
  const long long step = cursor[0];
  for (int e = blockIdx.x; e < examples; e += gridDim.x)
    fetch<T, V>(data, labels, order, step, x, own_labels, e, examples, features);
  if (blockIdx.x == 0) fetch_rates(rates, step, own_rates, rate_count);
}

// losses[cursor] = loss, and the batch and the rates of the step that follows, if there is one. The
// lower half of `cursor` counts steps, the upper half the blocks that have read it; the last one
// goes on to the next step.
template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    step_next(const T* data, const long long* labels, const long long* order, const T* rates,
              unsigned long long* cursor, T* x, long long* own_labels, T* own_rates, int examples,
              int features, int rate_count, T* losses, const T* loss, int replicas,
              long long steps) {
  const long long step = *(const volatile unsigned long long*)cursor & 0xffffffff;
  if (step + 1 < steps)
    for (int e = blockIdx.x; e < examples; e += gridDim.x)
      fetch<T, V>(data, labels, order, step + 1, x, own_labels, e, examples, features);
  if (blockIdx.x == 0) {
    if (step + 1 < steps) fetch_rates(rates, step + 1, own_rates, rate_count);
    for (int r = threadIdx.x; r < replicas; r += THREADS) losses[step * replicas + r] = loss[r];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned long long arrived = (atomicAdd(cursor, 1ull << 32) >> 32) + 1;
    if (arrived == gridDim.x) atomicAdd(cursor, 1 - (arrived << 32));
  }
}

// losses[cursor] = loss, and on to the next step. One block.
template <class T>
__global__ void __launch_bounds__(THREADS)
    step_end(T* losses, const T* loss, long long* cursor, int replicas) {
  const long long step = cursor[0];
  for (int r = threadIdx.x; r < replicas; r += THREADS) losses[step * replicas + r] = loss[r];
  __syncthreads();
  if (threadIdx.x == 0) cursor[0] = step + 1;
}
