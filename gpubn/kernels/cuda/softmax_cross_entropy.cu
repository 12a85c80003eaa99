#include "common.cuh"

// Softmax cross-entropy of logits (R, N, C) and labels, (R, N) or (N,); a block does one replica.

// loss[r] is the mean over the rows, dlogits its gradient, (softmax - onehot) / n.
template <class T>
__global__ void __launch_bounds__(THREADS)
    softmax_cross_entropy_forward(const T* logits, const long long* labels, long long label_stride,
                                  T* loss, T* dlogits, int n, int classes) {
  DYNAMIC_SHARED(shared);
  const long long replica = blockIdx.x;
  T sum[1][1] = {};
  for (int row = threadIdx.x; row < n; row += THREADS) {
    const T* z = logits + (replica * n + row) * classes;
    T* out = dlogits + (replica * n + row) * classes;
    const long long label = labels[replica * label_stride + row];
    T largest = z[0];
    for (int c = 1; c < classes; ++c) largest = z[c] > largest ? z[c] : largest;
    T total = T(0);
    for (int c = 0; c < classes; ++c) {
      const T e = exp(z[c] - largest);
      out[c] = e;
      total += e;
    }
    for (int c = 0; c < classes; ++c) out[c] = (out[c] / total - T(c == label ? 1 : 0)) / T(n);
    sum[0][0] += log(total) - (z[label] - largest);
  }
  // Threads are rows of a slab one column wide.
  sum_over_rows<1>(sum, 1, reinterpret_cast<T*>(shared));
  if (threadIdx.x == 0) loss[replica] = sum[0][0] / T(n);
}
