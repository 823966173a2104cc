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

TEST(CountText, has_a_plural) {
  EXPECT_EQ(count_text(4, "pass"), "4 passes");
  EXPECT_EQ(count_text(1, "cell"), "1 cell");
  EXPECT_EQ(count_text(0, "cell"), "0 cells");
}

}  // namespace
}  // namespace fusegrid
