// One task of the embedded pack: for zoos of many models that were made for the same task.

#include "tasks/suite.h"

namespace fusegrid::suites::fashion {
namespace {

const bool registered = [] {
  suite_registry().add(
      "fashion",
      {"fashion",
       "embedded.h5",
       "tools/make_task_pack.py; licences in data/NOTICE",
       {{"fashion", "Clothing (Fashion-MNIST)", "image classification", 10, "grey photographs of clothes",
         "the original test images; val is a part of the original training images"}}});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::fashion
