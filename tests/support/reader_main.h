#pragma once

#include <gtest/gtest.h>

#include "store/guarded_reader.h"

namespace fusegrid {

// main() of test programs that read results, for which they start themselves again.
inline int test_main_with_readers(int argc, char** argv) {
  if (const auto status = serve_guarded_reader(argc, argv)) {
    return *status;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace fusegrid
