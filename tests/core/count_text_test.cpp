#include "core/count_text.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(IsCount, tells_counts_from_names) {
  for (const char* count : {"0", "8", "123456789"}) {
    EXPECT_TRUE(is_count(count)) << count;
  }
  for (const char* name : {"", "mnist", "8a", "mnist+svhn", "-1", "1.5", "1234567890"}) {
    EXPECT_FALSE(is_count(name)) << name;
  }
}

}  // namespace
}  // namespace fusegrid
