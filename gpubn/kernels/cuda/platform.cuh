// What the kernels use of the machine: number formats of 16 bits, asynchronous copies, clusters.
// The tests have a second file of this name that gives the same names to a CPU.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

struct f16 {
  unsigned short bits;
};
struct bf16 {
  unsigned short bits;
};

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }

__device__ __forceinline__ float widen(f16 x) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
}

__device__ __forceinline__ float widen(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

__device__ __forceinline__ void narrow(float x, float& out) { out = x; }
__device__ __forceinline__ void narrow(double x, double& out) { out = x; }

__device__ __forceinline__ void narrow(float x, f16& out) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
}

// To the nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ void narrow(float x, bf16& out) {
  const unsigned bits = __float_as_uint(x);
  out.bits = x != x ? 0x7fff : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Copies `Bytes` bytes to shared memory. From sm_80 on it does not wait: see `wait_for_copies`.
template <int Bytes>
__device__ __forceinline__ void copy_to_shared(void* shared, const void* global) {
#if __CUDA_ARCH__ >= 800
  if constexpr (Bytes == 16) {
    const unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
    return;
  } else if constexpr (Bytes == 4 || Bytes == 8) {
    const unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(Bytes)
                 : "memory");
    return;
  }
#endif
  struct alignas(Bytes) Pack {
    unsigned char bytes[Bytes];
  };
  *(Pack*)shared = *(const Pack*)global;
}

// The calling thread's own copies have arrived.
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#if __CUDA_ARCH__ >= 900
#define CLUSTER(blocks) __cluster_dims__(blocks, 1, 1)

__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}
__device__ __forceinline__ void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

// Where `shared` lies in the block `rank` of this cluster.
template <class T>
__device__ __forceinline__ const T* in_block(const T* shared, int rank) {
  const T* there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(shared), "r"(rank));
  return there;
}
#else
__device__ __forceinline__ void cluster_arrive() {}
__device__ __forceinline__ void cluster_wait() {}
__device__ __forceinline__ void cluster_sync() {}
template <class T>
__device__ __forceinline__ const T* in_block(const T* shared, int rank) {
  return shared;
}
#endif

// Makes this thread's writes visible to the device before its next atomic.
__device__ __forceinline__ void publish() { __threadfence(); }

// Waits until another block has counted this far.
__device__ __forceinline__ void wait_until(const unsigned* counter, unsigned count) {
  while (*(const volatile unsigned*)counter < count) {
#if __CUDA_ARCH__ >= 700
    __nanosleep(40);
#endif
  }
  __threadfence();
}

// Reads past the first-level cache, which other blocks do not update.
__device__ __forceinline__ float read_fresh(const float* p) { return __ldcg(p); }
__device__ __forceinline__ double read_fresh(const double* p) { return __ldcg(p); }

// A product that is rounded, whatever is added to it.
__device__ __forceinline__ float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double rounded_product(double a, double b) { return __dmul_rn(a, b); }
