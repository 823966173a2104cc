#include "worker/executor.h"

#include <stdexcept>

namespace fusegrid {

void Executor::prepare(const std::string& item, TeamChannel&, Progress&) {
  throw std::logic_error("no team can share " + item + ": this kind of executor works alone");
}

Registry<MakeExecutor>& executor_registry() {
  static Registry<MakeExecutor> registry("executor");  // exists before the first object that registers itself
  return registry;
}

}  // namespace fusegrid
