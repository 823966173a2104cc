#include "worker/executor.h"

namespace fusegrid {

Registry<MakeExecutor>& executor_registry() {
  static Registry<MakeExecutor> registry("executor");  // exists before the first object that registers itself
  return registry;
}

}  // namespace fusegrid
