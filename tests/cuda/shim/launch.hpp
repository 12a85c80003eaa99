// Launches kernels by name. A generated file includes the source, this, and a table of kernels.

namespace shim {

constexpr size_t STACK = 64 << 10, STRIP = 256;
constexpr unsigned SIDE_BY_SIDE = 5;  // clusters that run at once where the order is random
constexpr unsigned char UNWRITTEN = 0xff, GUARD = 0xab;

constexpr unsigned LATE = 128;  // rounds; between two barriers lie some 40 shuffles, one a round

struct Random {
  uint64_t state;
  unsigned below(unsigned n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % n);
  }
};

using Call = void (*)(void**);

template <auto Kernel>
struct Entry;
template <class... P, void (*Kernel)(P...)>
struct Entry<Kernel> {
  static constexpr int count = sizeof...(P);
  static constexpr int sizes[] = {int(sizeof(P))...};
  template <size_t... I>
  static void unpack(void** args, std::index_sequence<I...>) {
    Kernel(*static_cast<std::remove_const_t<P>*>(args[I])...);
  }
  static void call(void** args) { unpack(args, std::index_sequence_for<P...>()); }
};

struct Named {
  const char* name;
  Call call;
  int count;
  const int* sizes;
};

template <auto Kernel>
Named named(const char* name) {
  return {name, &Entry<Kernel>::call, Entry<Kernel>::count, Entry<Kernel>::sizes};
}

struct Launch {
  Call call;
  void** args;
  unsigned grid, threads, shared, cluster;
  int order;  // 0: ascending, 1: descending, else the seed of a new order in each round
};

inline thread_local Call current_call;
inline thread_local void** current_args;

// A fiber runs one thread of a kernel after another: a context of its own is made only once.
inline void enter() {
  for (;;) {
    current_call(current_args);
    me->done = true;
    moved = true;
    yield();
  }
}

// The fibers of one thread of the system, kept from launch to launch.
struct Pool {
  std::vector<Fiber> fibers;
  char* stacks = nullptr;

  void reserve(size_t count) {
    if (fibers.size() >= count) return;
    release();
    fibers = std::vector<Fiber>(count);
    stacks = static_cast<char*>(mmap(nullptr, STACK * count, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (size_t i = 0; i < count; ++i) fibers[i].stack = stacks + i * STACK;
  }
  void release() {
    if (stacks != nullptr) munmap(stacks, STACK * fibers.size());
    stacks = nullptr;
    fibers.clear();
  }
  ~Pool() { release(); }
};
inline thread_local Pool pool;

inline void start(Fiber& fiber) {
  // A context is needed once, to get onto the stack; after that jumps are enough, and fast.
  ucontext_t there;
  getcontext(&there);
  there.uc_stack.ss_sp = fiber.stack;
  there.uc_stack.ss_size = STACK;
  there.uc_link = nullptr;
  makecontext(&there, enter, 0);
  fiber.started = true;
  setcontext(&there);
}

// The memory and the barriers of one cluster, and a check of what lies behind them.
struct Running {
  Cluster cluster;
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<unsigned char[]>> memory;

  Running(const Launch& launch, unsigned first) {
    const unsigned count = launch.cluster * launch.threads;
    cluster.grid.x = launch.grid;
    cluster.barrier.size = count;
    cluster.blocks.resize(launch.cluster);
    for (unsigned b = 0; b < launch.cluster; ++b) {
      Block& block = cluster.blocks[b];
      memory.emplace_back(new unsigned char[launch.shared + STRIP + 16]);
      const auto address = reinterpret_cast<uintptr_t>(memory.back().get());
      block.shared = memory.back().get() + (16 - address % 16) % 16;
      std::memset(block.shared, UNWRITTEN, launch.shared);
      std::memset(block.shared + launch.shared, GUARD, STRIP);
      block.index.x = first + b;
      block.barrier.size = launch.threads;
      block.cluster = &cluster;
    }
    warps.resize(count / 32);
    for (Warp& warp : warps) warp.barrier.size = 32;
  }

  bool intact(size_t shared) const {
    for (const Block& block : cluster.blocks)
      for (size_t i = 0; i < STRIP; ++i)
        if (block.shared[shared + i] != GUARD) return false;
    return true;
  }
};

// Runs the clusters that start at block `first`, `number` of them side by side, to their end;
// returns what went wrong, or an empty string.
inline std::string run_clusters(const Launch& launch, unsigned first, unsigned number) {
  const unsigned of_one = launch.cluster * launch.threads, count = number * of_one;
  std::vector<std::unique_ptr<Running>> running;
  for (unsigned c = 0; c < number; ++c)
    running.emplace_back(new Running(launch, first + c * launch.cluster));
  pool.reserve(count);
  std::vector<Fiber>& fibers = pool.fibers;
  std::vector<unsigned> turn(count);
  for (unsigned i = 0; i < count; ++i) {
    Fiber& fiber = fibers[i];
    Running& own = *running[i / of_one];
    fiber.thread.x = i % launch.threads;
    fiber.block = &own.cluster.blocks[i % of_one / launch.threads];
    fiber.warp = &own.warps[i % of_one / 32];
    fiber.shuffles = 0;
    fiber.done = false;
    fiber.copies.clear();
    turn[i] = launch.order == 1 ? count - 1 - i : i;
  }
  current_call = launch.call;
  current_args = launch.args;
  Random random{(uint64_t)launch.order};
  volatile unsigned alive = count, late = 0;  // for so many rounds one warp does not run
  const Warp* volatile slow = nullptr;
  while (alive > 0) {
    if (launch.order > 1) {
      for (unsigned i = count - 1; i > 0; --i) std::swap(turn[i], turn[random.below(i + 1)]);
      if (late == 0) {
        slow = fibers[random.below(count)].warp;
        late = 1 + random.below(LATE);
      }
      late = late - 1;
    }
    moved = false;
    for (volatile unsigned i = 0; i < count; i = i + 1) {
      Fiber& fiber = fibers[turn[i]];
      if (fiber.done || (late > 0 && fiber.warp == slow)) continue;
      me = &fiber;
      if (_setjmp(scheduler) == 0) {
        if (fiber.started) _longjmp(fiber.state, 1);
        start(fiber);
      }
      if (me->done) alive = alive - 1;
    }
    if (!moved && late > 0) {
      late = 0;
    } else if (!moved && alive > 0) {
      pool.release();  // some of its fibers are in the middle of a kernel
      return "threads wait for each other for ever";
    }
  }
  for (const auto& cluster : running)
    if (!cluster->intact(launch.shared)) return "a write beyond shared memory";
  return "";
}

}  // namespace shim

extern const shim::Named KERNELS[];
extern const int KERNEL_COUNT;

// Runs one kernel. Returns 0, or 1 with a sentence in `error` (256 bytes).
extern "C" int shim_launch(const char* name, unsigned grid, unsigned threads, unsigned shared,
                           unsigned cluster, void** args, const int* sizes, int count, int order,
                           int workers, char* error) {
  const shim::Named* kernel = nullptr;
  for (int i = 0; i < KERNEL_COUNT; ++i)
    if (std::strcmp(KERNELS[i].name, name) == 0) kernel = &KERNELS[i];
  if (kernel == nullptr) return std::snprintf(error, 256, "no kernel %s", name), 1;
  if (kernel->count != count)
    return std::snprintf(error, 256, "%d arguments; expected %d", count, kernel->count), 1;
  for (int i = 0; i < count; ++i)
    if (kernel->sizes[i] != sizes[i])
      return std::snprintf(error, 256, "argument %d has %d bytes; expected %d", i, sizes[i],
                           kernel->sizes[i]), 1;
  if (grid == 0 || grid % cluster != 0) return std::snprintf(error, 256, "a grid of %u", grid), 1;
  const shim::Launch launch{kernel->call, args, grid, threads, shared, cluster, order};
  std::atomic<unsigned> next{0};
  std::atomic<bool> failed{false};
  auto work = [&] {
    const unsigned number = order > 1 ? shim::SIDE_BY_SIDE : 1, step = number * cluster;
    for (unsigned first; !failed && (first = next.fetch_add(step)) < grid;) {
      const unsigned left = (grid - first) / cluster;
      const std::string wrong = shim::run_clusters(launch, first, std::min(number, left));
      if (!wrong.empty() && !failed.exchange(true))
        std::snprintf(error, 256, "block %u: %s", first, wrong.c_str());
    }
  };
  std::vector<std::thread> pool;
  for (int i = 1; i < workers; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  return failed;
}
