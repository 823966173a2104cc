#include "core/parallel.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace fusegrid {
namespace {

constexpr rlim_t kMostReadingThreads = 16;
constexpr rlim_t kAddressesOfThread = rlim_t{1} << 30;

}  // namespace

int usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) {  // more of them than the set can hold
    return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  }
  return CPU_COUNT(&cores);
}

int reading_threads() {
  rlim_t most = std::min(static_cast<rlim_t>(usable_cores()), kMostReadingThreads);
  rlimit addresses{};
  if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY) {
    most = std::min(most, addresses.rlim_cur / kAddressesOfThread);
  }
  return static_cast<int>(std::max(most, rlim_t{1}));
}

}  // namespace fusegrid
