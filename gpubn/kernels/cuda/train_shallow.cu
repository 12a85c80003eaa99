#include "common.cuh"

// Whole trainings of networks with one hidden layer in one launch. A cluster of C blocks trains a
// network: each block keeps W hidden units, its columns of the first weights and the batch in shared
// memory from the first step to the last, so that no weight is moved. Batch norm mixes the rows of a
// unit alone, so it stays within a warp. Once a step the blocks wait for each other, to add their
// shares of the logits: in the order of the ranks, the same bits in each.

constexpr int CREW = 512, CREW_WARPS = CREW / 32;
constexpr int MOST_ROWS = 32;           // of a batch: a lane is a row
constexpr int UPDATERS = 384;           // threads that step the first weights; the others do the rest
constexpr int TALL = MOST_ROWS + 2;     // of a column in a table; no two lanes in the same bank

// What a launch is told in numbers; `_NUMBERS` of train_shallow.py has the same order.
template <class S>
struct Training {
  S momentum, eps;
  long long first;  // step
  int steps, replicas, n, d, classes, activation, rate_stride, dof, normalised, average_std;
};

template <class T>
__device__ __forceinline__ T sum_over_warp(T value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(ALL_LANES, value, offset);
  return value;
}

// How shared memory is used. A quad is 4 features. Rows of x lie an odd number of quads apart, and so
// do groups of 4 columns of the weights: what a warp reads at once is in different banks.
template <class T, int W>
struct Places {
  static constexpr int GROUPS = W / 4, SPLIT = 32 / (8 * GROUPS), SLOTS = CREW_WARPS * SPLIT;
  int quads, x_stride, group_stride;
  Pack<T, 4>*x, *weight;
  T *partial, *hidden, *step, *out_weight, *out_bias, *logits, *slope, *shares;
  int *rows, *labels;

  __device__ Places(unsigned char* shared, int d, int classes) {
    quads = d / 4;
    x_stride = quads | 1;
    group_stride = (4 * quads) | 1;
    x = reinterpret_cast<Pack<T, 4>*>(shared);
    weight = x + MOST_ROWS * x_stride;
    step = reinterpret_cast<T*>(weight + GROUPS * group_stride);  // (rows, W + 4): rate * dz
    partial = step + MOST_ROWS * (W + 4);                         // (SLOTS, W, TALL)
    hidden = partial + SLOTS * W * TALL;                          // (W, TALL)
    shares = hidden + W * TALL;                                   // (2, classes, TALL)
    logits = shares + 2 * classes * TALL;                         // (classes, TALL), as is `slope`
    slope = logits + classes * TALL;
    out_weight = slope + classes * TALL;                          // (W, classes)
    out_bias = out_weight + W * classes;
    rows = reinterpret_cast<int*>(out_bias + classes);            // (2, rows), as are `labels`
    labels = rows + 2 * MOST_ROWS;
  }
};

// data (examples, D), labels (examples,), order (steps, R, N), rates (steps, R or 1), losses
// (steps, R); weight (R, D, C W), bias and the tables of batch norm (R, C W), out_weight
// (R, C W, classes), out_bias (R, classes).
template <class T, int W, int C>
__global__ void CLUSTER(C) __launch_bounds__(CREW, 1)
    train_shallow_cluster(const T* data, const long long* labels, const long long* order,
                          const T* rates, T* losses, T* weight, T* bias, T* gamma, T* beta,
                          T* running_mean, T* running_spread, T* out_weight, T* out_bias,
                          const Training<T> p) {
  DYNAMIC_SHARED(shared);
  using At = Places<T, W>;
  const At at(shared, p.d, p.classes);
  const int rank = blockIdx.x % C, replica = blockIdx.x / C, units = C * W;
  const int warp = threadIdx.x / 32, lane = threadIdx.x & 31;
  const int n = p.n, quads = at.quads, classes = p.classes;
  const T one_of_n = T(1) / T(n);
  weight += (long long)replica * p.d * units + rank * W;
  out_weight += ((long long)replica * units + rank * W) * classes;
  out_bias += (long long)replica * classes;

  for (int i = threadIdx.x; i < p.d * W; i += CREW) {
    const int k = i / W, j = i % W;
    at.weight[j / 4 * at.group_stride + k % 4 * quads + k / 4].value[j % 4] =
        weight[(long long)k * units + j];
  }
  for (int i = threadIdx.x; i < W * classes; i += CREW) at.out_weight[i] = out_weight[i];
  for (int i = threadIdx.x; i < classes; i += CREW) at.out_bias[i] = out_bias[i];
  for (int i = threadIdx.x; i < MOST_ROWS * at.x_stride; i += CREW) at.x[i] = {};
  for (int i = threadIdx.x; i < MOST_ROWS * (W + 4); i += CREW) at.step[i] = T(0);

  // A warp owns a unit, and each of its lanes the unit's numbers.
  const long long unit = (long long)replica * units + rank * W + warp;
  const bool owner = warp < W, live = lane < n;
  T b = 0, g = 1, shift = 0, mean_kept = 0, spread_kept = 0;
  if (owner) {
    b = bias[unit];
    if (gamma != nullptr) g = gamma[unit];
    if (beta != nullptr) shift = beta[unit];
    if (running_mean != nullptr) {
      mean_kept = running_mean[unit];
      spread_kept = running_spread[unit];
    }
  }
  const long long batch = (long long)p.replicas * n;
  if (warp == 0 && live) {
    const long long row = order[p.first * batch + replica * n + lane];
    at.rows[lane] = (int)row;
    at.labels[lane] = (int)labels[row];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < n * quads; i += CREW)
    copy_to_shared<16>(at.x + i / quads * at.x_stride + i % quads,
                       data + (long long)at.rows[i / quads] * p.d + i % quads * 4);
  wait_for_copies();
  __syncthreads();

  for (int step = 0; step < p.steps; ++step) {
    const int turn = step & 1;
    const bool more = step + 1 < p.steps;
    const T rate = rates[(p.first + step) * p.rate_stride + (p.rate_stride > 1 ? replica : 0)];
    T* share = at.shares + turn * classes * TALL;
    if (warp == CREW_WARPS - 1 && live && more)
      at.rows[(turn ^ 1) * MOST_ROWS + lane] =
          (int)order[(p.first + step + 1) * batch + replica * n + lane];

    // x W: a warp takes every so many quads, a thread 4 x 4 of their products.
    {
      const int row = lane & 7, group = lane / 8 % At::GROUPS;
      const int slot = warp * At::SPLIT + lane / (8 * At::GROUPS);
      T product[4][4] = {};
#pragma unroll 2
      for (int q = slot; q < quads; q += At::SLOTS) {
        Pack<T, 4> x[4], w[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = at.x[(row + 8 * i) * at.x_stride + q];
#pragma unroll
        for (int k = 0; k < 4; ++k) w[k] = at.weight[group * at.group_stride + k * quads + q];
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
          for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) product[i][j] += x[i].value[k] * w[k].value[j];
      }
      T* to = at.partial + (slot * W + group * 4) * TALL + row;
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) to[j * TALL + 8 * i] = product[i][j];
    }
    __syncthreads();

    T hat = 0, h = 0, inv_std = 1;
    if (owner) {
      T z = 0;
#pragma unroll 8
      for (int s = 0; s < At::SLOTS; ++s) z += at.partial[(s * W + warp) * TALL + lane];
      z += b;
      if (p.normalised) {
        const T pivot = __shfl_sync(ALL_LANES, z, 0);
        T c = live ? z - pivot : T(0);
        const T shifted = sum_over_warp(c) * one_of_n;
        if (live) c -= shifted;
        const T rest = sum_over_warp(c) * one_of_n;
        if (live) c -= rest;
        const T var = sum_over_warp(c * c) / T(p.dof);
        const T mean = pivot + (shifted + rest);
        const T total = var + p.eps;
        inv_std = total == T(0) ? T(0) : T(1) / sqrt(total);
        hat = c * inv_std;
        z = fma(g, hat, shift);
        const T spread = p.average_std ? sqrt(var) : var * (T(p.dof) / T(n - 1));
        mean_kept = (T(1) - p.momentum) * mean_kept + p.momentum * mean;
        spread_kept = (T(1) - p.momentum) * spread_kept + p.momentum * spread;
      }
      h = activate(p.activation, z);
      at.hidden[warp * TALL + lane] = live ? h : T(0);
    }
    __syncthreads();

    for (int c = warp; c < classes; c += CREW_WARPS) {
      T logit = 0;
#pragma unroll
      for (int j = 0; j < W; ++j)
        logit += at.hidden[j * TALL + lane] * at.out_weight[j * classes + c];
      share[c * TALL + lane] = logit;
    }
    cluster_sync();
    for (int c = warp; c < classes; c += CREW_WARPS) {
      T part[C], logit = 0;
#pragma unroll
      for (int other = 0; other < C; ++other)
        part[other] = in_block(share, other)[c * TALL + lane];
#pragma unroll
      for (int other = 0; other < C; ++other) logit += part[other];
      at.logits[c * TALL + lane] = logit + at.out_bias[c];
    }
    __syncthreads();

    // The loss, and its slope by the logits.
    const int label = live ? at.labels[turn * MOST_ROWS + lane] : 0;
    for (int c = warp; c < classes; c += CREW_WARPS) {
      const T* z = at.logits + lane;
      T largest = z[0], total = 0;
      for (int i = 1; i < classes; ++i) largest = z[i * TALL] > largest ? z[i * TALL] : largest;
      for (int i = 0; i < classes; ++i) total += exp(z[i * TALL] - largest);
      const T softmax = exp(z[c * TALL] - largest) / total;
      at.slope[c * TALL + lane] = live ? (softmax - T(c == label ? 1 : 0)) * one_of_n : T(0);
      if (c == 0 && rank == 0) {
        const T loss = sum_over_warp(live ? log(total) - (z[label * TALL] - largest) : T(0));
        if (lane == 0) losses[(p.first + step) * p.replicas + replica] = loss * one_of_n;
      }
    }
    __syncthreads();

    if (owner) {
      T dh = 0;
      for (int c = 0; c < classes; ++c)
        dh += at.slope[c * TALL + lane] * at.out_weight[warp * classes + c];
      T dz = live ? through_activation(p.activation, dh, h) : T(0);
      if (p.normalised) {
        const T dbeta = sum_over_warp(dz), dgamma = sum_over_warp(dz * hat);
        if (live) dz = g * inv_std * (dz - dbeta * one_of_n - hat * (dgamma / T(p.dof)));
        if (gamma != nullptr) g -= rounded_product(rate, dgamma);
        if (beta != nullptr) shift -= rounded_product(rate, dbeta);
      }
      dz *= rate;
      if (live) at.step[lane * (W + 4) + warp] = dz;
      b -= sum_over_warp(dz);
    }
    __syncthreads();

    // weight -= x^T (rate dz). A thread has a quad to itself: when it has read a row of it, the next
    // batch's row may come in its place.
    if (threadIdx.x < UPDATERS) {
      const int* next = at.rows + (turn ^ 1) * MOST_ROWS;
      for (int q = threadIdx.x; q < quads; q += UPDATERS) {
        T change[4][W] = {};
#pragma unroll 2
        for (int row = 0; row < n; ++row) {
          Pack<T, 4>* place = at.x + row * at.x_stride + q;
          const Pack<T, 4> x = *place;
          Pack<T, 4> dz[At::GROUPS];
#pragma unroll
          for (int i = 0; i < At::GROUPS; ++i)
            dz[i] = *reinterpret_cast<const Pack<T, 4>*>(at.step + row * (W + 4) + 4 * i);
#pragma unroll
          for (int k = 0; k < 4; ++k)
#pragma unroll
            for (int j = 0; j < W; ++j) change[k][j] += x.value[k] * dz[j / 4].value[j % 4];
          if (more) copy_to_shared<16>(place, data + (long long)next[row] * p.d + q * 4);
        }
#pragma unroll
        for (int i = 0; i < At::GROUPS; ++i)
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            Pack<T, 4>* place = at.weight + i * at.group_stride + k * quads + q;
            Pack<T, 4> w = *place;
#pragma unroll
            for (int j = 0; j < 4; ++j) w.value[j] -= change[k][4 * i + j];
            *place = w;
          }
      }
    } else {
      for (int i = threadIdx.x - UPDATERS; i < (W + 1) * classes; i += CREW - UPDATERS) {
        const int j = i / classes, c = i % classes;
        T sum = 0;
        for (int row = 0; row < n; ++row)
          sum += (j < W ? at.hidden[j * TALL + row] : T(1)) * at.slope[c * TALL + row];
        T* to = j < W ? at.out_weight + i : at.out_bias + c;
        *to -= rounded_product(rate, sum);
      }
      if (warp == CREW_WARPS - 1 && live && more)
        at.labels[(turn ^ 1) * MOST_ROWS + lane] =
            (int)labels[at.rows[(turn ^ 1) * MOST_ROWS + lane]];
    }
    wait_for_copies();
    __syncthreads();
  }

  for (int i = threadIdx.x; i < p.d * W; i += CREW) {
    const int k = i / W, j = i % W;
    weight[(long long)k * units + j] =
        at.weight[j / 4 * at.group_stride + k % 4 * quads + k / 4].value[j % 4];
  }
  for (int i = threadIdx.x; i < W * classes; i += CREW) out_weight[i] = at.out_weight[i];
  if (rank == 0)
    for (int i = threadIdx.x; i < classes; i += CREW) out_bias[i] = at.out_bias[i];
  if (owner && lane == 0) {
    bias[unit] = b;
    if (gamma != nullptr) gamma[unit] = g;
    if (beta != nullptr) beta[unit] = shift;
    if (running_mean != nullptr) {
      running_mean[unit] = mean_kept;
      running_spread[unit] = spread_kept;
    }
  }
  cluster_sync();  // others may still read this block's shares
}
