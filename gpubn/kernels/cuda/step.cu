#include "common.cuh"

// Both ends of a training step. `cursor` counts the steps on the device, so that one recorded step
// can be replayed: what differs from step to step is looked up in tables by it.

// x[r, b] = data[order[cursor, r, b]], its label likewise, and the rates of this step. A block
// copies one example.
template <class T, int V>
__global__ void __launch_bounds__(THREADS)
    step_begin(const T* data, const long long* labels, const long long* order, const T* rates,
               const long long* cursor, T* x, long long* own_labels, T* own_rates, int examples,
               int features, int rate_count) {
  const long long step = cursor[0], row = order[step * examples + blockIdx.x];
  const T* from = data + row * features;
  T* to = x + (long long)blockIdx.x * features;
  for (int i = threadIdx.x * V; i < features; i += THREADS * V)
    *reinterpret_cast<Pack<T, V>*>(to + i) = *reinterpret_cast<const Pack<T, V>*>(from + i);
  if (threadIdx.x == 0) own_labels[blockIdx.x] = labels[row];
  if (blockIdx.x == 0)
    for (int r = threadIdx.x; r < rate_count; r += THREADS)
      own_rates[r] = rates[step * rate_count + r];
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
