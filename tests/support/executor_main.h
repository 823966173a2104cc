#pragma once

#include <string>

#include <gtest/gtest.h>

#include "worker/item_runner.h"

namespace fusegrid {

// main() of test programs whose workers start themselves again as executors.
inline int test_main_with_executor(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "executor") {
    return executor_main(3);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace fusegrid
