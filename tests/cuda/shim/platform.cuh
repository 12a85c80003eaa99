// A CUDA device for the kernels' sources on the CPU. Takes the place of the package's platform.cuh.
//
// A thread of CUDA is a fiber with a stack of its own; the fibers of a cluster take turns on one
// thread of the system, each running until it has to wait. Clusters are dealt to several threads of
// the system. Shared memory is filled with 0xff (NaN) before a block starts, and a strip behind it
// is checked after. The order in which fibers take turns can be chosen; a random one also runs some
// clusters side by side and lets some warps fall behind. So a barrier that is missing shows in one
// order or another.
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <sched.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define CLUSTER(blocks)
#define threadIdx (shim::me->thread)
#define blockIdx (shim::me->block->index)
#define gridDim (shim::me->block->cluster->grid)
#define DYNAMIC_SHARED(name) unsigned char* name = shim::me->block->shared

using std::ceil;
using std::exp;
using std::fabs;
using std::fma;
using std::log;
using std::max;
using std::min;
using std::sqrt;
using std::tanh;

namespace shim {

struct Index {
  unsigned x;
};

struct Barrier {
  unsigned size = 0, arrived = 0, generation = 0;
};

struct Block {
  Index index{};
  unsigned char* shared = nullptr;
  Barrier barrier;
  struct Cluster* cluster = nullptr;
};

struct Cluster {
  Index grid{};
  std::vector<Block> blocks;
  Barrier barrier;
};

struct Warp {
  Barrier barrier;
  uint64_t slot[2][32];
};

struct Copy {
  void* to;
  const void* from;
  int bytes;
};

struct Fiber {
  Index thread{};
  Block* block = nullptr;
  Warp* warp = nullptr;
  unsigned shuffles = 0;
  bool done = false, started = false;
  jmp_buf state;
  char* stack = nullptr;
  std::vector<Copy> copies;
};

inline thread_local Fiber* me = nullptr;
inline thread_local jmp_buf scheduler;
inline thread_local bool moved = false;  // some fiber got on since the scheduler last looked

inline void yield() {
  if (_setjmp(me->state) == 0) _longjmp(scheduler, 1);
}

inline void wait(Barrier& barrier) {
  const unsigned generation = barrier.generation;
  moved = true;
  if (++barrier.arrived == barrier.size) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) yield();
  moved = true;
}

template <class T>
T shuffle(T value, unsigned from) {
  uint64_t(&slot)[32] = me->warp->slot[me->shuffles++ & 1];
  std::memcpy(&slot[me->thread.x % 32], &value, sizeof value);
  wait(me->warp->barrier);
  std::memcpy(&value, &slot[from], sizeof value);
  return value;
}

}  // namespace shim

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return shim::shuffle(value, (shim::me->thread.x % 32) ^ mask);
}

template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return shim::shuffle(value, from);
}

inline void __syncthreads() { shim::wait(shim::me->block->barrier); }
inline void cluster_arrive() {}
inline void cluster_wait() { shim::wait(shim::me->block->cluster->barrier); }
inline void cluster_sync() { cluster_wait(); }

template <class T>
const T* in_block(const T* shared, int rank) {
  const auto offset = reinterpret_cast<const unsigned char*>(shared) - shim::me->block->shared;
  return reinterpret_cast<const T*>(shim::me->block->cluster->blocks[rank].shared + offset);
}

inline unsigned atomicAdd(unsigned* counter, unsigned n) {
  return __atomic_fetch_add(counter, n, __ATOMIC_SEQ_CST);
}

inline unsigned long long atomicAdd(unsigned long long* counter, unsigned long long n) {
  return __atomic_fetch_add(counter, n, __ATOMIC_SEQ_CST);
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

inline void publish() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

inline void wait_until(unsigned* counter, unsigned count) {
  const std::time_t begun = std::time(nullptr);
  while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < count) {
    if (std::time(nullptr) - begun < 20) shim::moved = true;
    sched_yield();
    shim::yield();
  }
}

template <class T>
T read_fresh(const T* p) {
  return *p;
}

template <class T>
T rounded_product(T a, T b) {
  return a * b;
}

// A copy arrives only when it is waited for: until then its place holds NaN.
template <int Bytes>
void copy_to_shared(void* shared, const void* global) {
  shim::me->copies.push_back({shared, global, Bytes});
}

inline void wait_for_copies() {
  for (const shim::Copy& copy : shim::me->copies) std::memcpy(copy.to, copy.from, copy.bytes);
  shim::me->copies.clear();
}

struct f16 {
  unsigned short bits;
};
struct bf16 {
  unsigned short bits;
};

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }

inline float widen(bf16 x) {
  const uint32_t bits = (uint32_t)x.bits << 16;
  float wide;
  std::memcpy(&wide, &bits, 4);
  return wide;
}

inline float widen(f16 x) {
  _Float16 half;
  std::memcpy(&half, &x.bits, 2);
  return (float)half;
}

inline void narrow(float x, float& out) { out = x; }
inline void narrow(double x, double& out) { out = x; }

inline void narrow(float x, f16& out) {
  const _Float16 half = (_Float16)x;
  std::memcpy(&out.bits, &half, 2);
}

inline void narrow(float x, bf16& out) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  out.bits = x != x ? 0x7fff : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
