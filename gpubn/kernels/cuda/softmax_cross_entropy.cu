#include "common.cuh"

// Softmax cross-entropy of logits (R, N, C) and labels, (R, N) or (N,); a block does one replica.

// loss[r] is the mean over the rows, dlogits its gradient, (softmax - onehot) / n.
//
// With `rates`, `bias` (R, C) is added to the logits and takes its step, and scaled = rate * dlogits.
template <class T>
__global__ void __launch_bounds__(THREADS)
    softmax_cross_entropy_forward(const T* logits, const long long* labels, long long label_stride,
                                  T* loss, T* dlogits, T* scaled, T* bias, const T* rates,
                                  int rate_stride, int n, int classes) {
  DYNAMIC_SHARED(shared);
  const long long replica = blockIdx.x;
  if (bias != nullptr) bias += replica * classes;
  T sum[1][1] = {};
  for (int row = threadIdx.x; row < n; row += THREADS) {
    const T* z = logits + (replica * n + row) * classes;
    T* out = dlogits + (replica * n + row) * classes;
    const long long label = labels[replica * label_stride + row];
    T largest = z[0] + (bias == nullptr ? T(0) : bias[0]);
    for (int c = 0; c < classes; ++c) {
      const T logit = bias == nullptr ? z[c] : z[c] + bias[c];
      largest = logit > largest ? logit : largest;
      out[c] = logit;
    }
    const T of_label = out[label] - largest;
    T total = T(0);
    for (int c = 0; c < classes; ++c) {
      const T e = exp(out[c] - largest);
      out[c] = e;
      total += e;
    }
    for (int c = 0; c < classes; ++c) out[c] = (out[c] / total - T(c == label ? 1 : 0)) / T(n);
    sum[0][0] += log(total) - of_label;
  }
  // Threads are rows of a slab one column wide.
  sum_over_rows<1>(sum, 1, reinterpret_cast<T*>(shared));
  if (threadIdx.x == 0) loss[replica] = sum[0][0] / T(n);
  if (rates == nullptr) return;

  // That sum's barrier stands before: everybody has written his rows and read the bias. A warp takes a
  // class, a lane every 32nd row of it.
  const T rate = rates[replica * rate_stride];
  for (int c = threadIdx.x / 32; c < classes; c += WARPS) {
    T gradient = T(0);
    for (int row = threadIdx.x & 31; row < n; row += 32) {
      const long long at = (replica * n + row) * classes + c;
      gradient += dlogits[at];
      scaled[at] = rate * dlogits[at];
    }
    for (int offset = 1; offset < 32; offset *= 2)
      gradient += __shfl_xor_sync(ALL_LANES, gradient, offset);
    if ((threadIdx.x & 31) == 0) bias[c] -= rate * gradient;
  }
}
