#include "cli/memory_limit.h"

#include <cmath>
#include <fstream>

#include <unistd.h>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr double kHeap =
    128.0 * 1024 * 1024;  // measured: the smallest model of the embedded zoo needs about so much

// Pages of address space, in bytes, from /proc/self/statm.
double address_space() {
  double pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// An executor is this program, so it starts with what this process had before main(): LibTorch's libraries, not yet
// MPI.
const double kAtStart = address_space();

}  // namespace

void check_memory_limit(const JobSpec& job) {
  const double least = std::ceil((kAtStart + kHeap) / kGiB * 100) / 100;
  if (job.memory_limit_gb && *job.memory_limit_gb < least) {
    throw ConfigError(job.where(0) + "'memory_limit_gb' must be at least " + number_text(least) +
                      ", which LibTorch takes before a model is loaded, but it is " +
                      number_text(*job.memory_limit_gb) +
                      "; raise it by the size of the models, or take it out");
  }
}

}  // namespace fusegrid
