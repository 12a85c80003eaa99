#include "common.cuh"

// The last affine map, softmax cross-entropy of its logits, and a step of the map: x (R, N, D), labels
// (R, N) or (N,), weight (R, D, C), bias (R, C). A block does one replica, in shared memory.

constexpr int COLUMNS = 16;  // classes at most

// loss[r] is the mean over the rows, dx the gradient of x, or null.
//
// In shared memory x has rows of `wide` numbers, weight of COLUMNS: whole packs, whose rest is 0, so
// that nobody asks where a row ends. `lanes`, a power of two, is how many threads share a row of x.
// The bound keeps ptxas from spilling a few bytes for a third block.
template <class T>
__global__ void __launch_bounds__(THREADS, 2)
    classifier_descend(const T* x, const long long* labels, long long label_stride, T* weight, T* bias,
                       const T* rates, int rate_stride, T* loss, T* dx, int n, int d, int classes,
                       int wide, int lanes) {
  constexpr int V = 16 / sizeof(T), PACKS = COLUMNS / V, STRIDE = COLUMNS + V;
  DYNAMIC_SHARED(shared);
  T* own_x = reinterpret_cast<T*>(shared);
  T* own_weight = own_x + n * wide;
  T* slope = own_weight + wide * COLUMNS;  // (n, STRIDE): the logits, then their gradient
  const long long replica = blockIdx.x;
  x += replica * n * d;
  weight += replica * d * classes;
  bias += replica * classes;
  const int lane = threadIdx.x & (lanes - 1), first = threadIdx.x / lanes, stride = THREADS / lanes;

  for (int row = first; row < n; row += stride)
    for (int k = lane; k < wide; k += lanes) {
      if (k < d) copy_to_shared<sizeof(T)>(own_x + row * wide + k, x + (long long)row * d + k);
      else own_x[row * wide + k] = T(0);
    }
  for (int i = threadIdx.x; i < wide * COLUMNS; i += THREADS) {
    const int k = i / COLUMNS, c = i % COLUMNS;
    if (k < d && c < classes) copy_to_shared<sizeof(T)>(own_weight + i, weight + k * classes + c);
    else own_weight[i] = T(0);
  }
  wait_for_copies();
  __syncthreads();

  for (int task = threadIdx.x; task < n * PACKS; task += THREADS) {
    const int row = task % n, c = task / n * V;
    T logit[V] = {};
#pragma unroll 4
    for (int k = 0; k < d; k += V) {
      T value[V];
      load<T, V>(own_x + row * wide + k, value);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        T w[V];
        load<T, V>(own_weight + (k + i) * COLUMNS + c, w);
#pragma unroll
        for (int j = 0; j < V; ++j) logit[j] = fma(value[i], w[j], logit[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < V; ++j)
      if (c + j < classes) logit[j] += bias[c + j];
    store<T, V>(logit, slope + row * STRIDE + c);
  }
  __syncthreads();

  T sum[1][1] = {};
  const T one_of_n = T(1) / T(n);
  for (int row = threadIdx.x; row < n; row += THREADS) {
    T* z = slope + row * STRIDE;
    const long long label = labels[replica * label_stride + row];
    T largest = z[0];
    for (int c = 1; c < classes; ++c) largest = z[c] > largest ? z[c] : largest;
    const T of_label = z[label] - largest;
    T total = T(0);
    for (int c = 0; c < classes; ++c) {
      z[c] = exp(z[c] - largest);
      total += z[c];
    }
    const T share = T(1) / total;
    for (int c = 0; c < classes; ++c) z[c] = (z[c] * share - T(c == label ? 1 : 0)) * one_of_n;
    sum[0][0] += log(total) - of_label;
  }
  // Threads are rows of a slab one column wide. Its barrier stands behind the gradient, too.
  sum_over_rows<1>(sum, 1, slope + n * STRIDE);
  if (threadIdx.x == 0) loss[replica] = sum[0][0] * one_of_n;

  if (dx != nullptr) {
    dx += replica * n * d;
    for (int k = lane; k < d; k += lanes) {
      T w[PACKS][V];
#pragma unroll
      for (int p = 0; p < PACKS; ++p) load<T, V>(own_weight + k * COLUMNS + p * V, w[p]);
      for (int row = first; row < n; row += stride) {
        T value = T(0);
#pragma unroll
        for (int p = 0; p < PACKS; ++p) {
          T g[V];
          load<T, V>(slope + row * STRIDE + p * V, g);
#pragma unroll
          for (int j = 0; j < V; ++j) value = fma(g[j], w[p][j], value);
        }
        dx[(long long)row * d + k] = value;
      }
    }
  }
  const T rate = rates[replica * rate_stride];
  for (int task = threadIdx.x; task < d * PACKS; task += THREADS) {
    const int k = task % d, c = task / d * V;
    T gradient[V] = {};
#pragma unroll 4
    for (int row = 0; row < n; ++row) {
      const T value = own_x[row * wide + k];
      T g[V];
      load<T, V>(slope + row * STRIDE + c, g);
#pragma unroll
      for (int j = 0; j < V; ++j) gradient[j] = fma(value, g[j], gradient[j]);
    }
#pragma unroll
    for (int j = 0; j < V; ++j)
      if (c + j < classes)
        weight[k * classes + c + j] = own_weight[k * COLUMNS + c + j] - rate * gradient[j];
  }
  for (int c = threadIdx.x; c < classes; c += THREADS) {
    T gradient = T(0);
    for (int row = 0; row < n; ++row) gradient += slope[row * STRIDE + c];
    bias[c] -= rate * gradient;
  }
}
