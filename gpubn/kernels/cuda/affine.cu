#include "common.cuh"

// What surrounds the matrix products of an affine map: y (R, N, H), bias (R, H). A block takes the
// slab of `lanes` columns of one replica, over all rows.

// y = activation(y + bias), where there is a bias.
template <class T>
__global__ void __launch_bounds__(THREADS)
    affine_add_bias(T* y, const T* bias, int activation, int n, int h, int lanes, int rows) {
  const int chunks = (n + rows - 1) / rows;
  const Slab slab(blockIdx.x / chunks, h, lanes, 1);
  if (!slab.inside) return;
  const int begin = (int)(blockIdx.x % chunks) * rows, end = min(n, begin + rows);
  const T b = bias == nullptr ? T(0) : bias[(long long)slab.replica * h + slab.column];
  T* own = y + (long long)slab.replica * n * h + slab.column;
  for (int row = begin + slab.row; row < end; row += slab.stride)
    own[(long long)row * h] = activate(activation, own[(long long)row * h] + b);
}

// The gradient before an activation whose output is y, which is kept in dz; with neither, dy itself.
template <class T>
__device__ __forceinline__ T before_activation(const T* dy, const T* y, T* dz, int activation,
                                               long long at) {
  if (y == nullptr) return dy[at];
  return dz[at] = through_activation(activation, dy[at], y[at]);
}

// dbias = sum of dz over the rows.
template <class T>
__global__ void __launch_bounds__(THREADS)
    affine_bias_gradient(const T* dy, const T* y, T* dz, int activation, T* dbias, int n, int h,
                         int lanes) {
  DYNAMIC_SHARED(shared);
  const Slab slab(blockIdx.x, h, lanes, 1);
  const long long start = (long long)slab.replica * n * h + slab.column;
  T sum[1][1] = {};
  if (slab.inside)
    for (int row = slab.row; row < n; row += slab.stride)
      sum[0][0] += before_activation(dy, y, dz, activation, start + (long long)row * h);
  sum_over_rows<1>(sum, lanes, reinterpret_cast<T*>(shared));
  if (slab.inside && slab.row == 0) dbias[(long long)slab.replica * h + slab.column] = sum[0][0];
}

// bias -= rate * (sum of dz over the rows) where there is a bias, and scaled = rate * dz, from which the
// product that follows takes the step of the weights: no gradient is stored.
template <class T>
__global__ void __launch_bounds__(THREADS)
    affine_descend_bias(const T* dy, const T* y, T* dz, int activation, T* scaled, T* bias,
                        const T* rates, int rate_stride, int n, int h, int lanes) {
  DYNAMIC_SHARED(shared);
  const Slab slab(blockIdx.x, h, lanes, 1);
  const long long start = (long long)slab.replica * n * h + slab.column;
  const T rate = rates[slab.replica * rate_stride];
  T sum[1][1] = {};
  if (slab.inside)
    for (int row = slab.row; row < n; row += slab.stride) {
      const long long at = start + (long long)row * h;
      const T g = before_activation(dy, y, dz, activation, at);
      sum[0][0] += g;
      scaled[at] = rate * g;
    }
  sum_over_rows<1>(sum, lanes, reinterpret_cast<T*>(shared));
  if (slab.inside && slab.row == 0 && bias != nullptr)
    bias[(long long)slab.replica * h + slab.column] -= rate * sum[0][0];
}
