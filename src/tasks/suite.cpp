#include "tasks/suite.h"

namespace fusegrid {

Registry<Suite>& suite_registry() {
  static Registry<Suite> registry("task suite");
  return registry;
}

}  // namespace fusegrid
