#include "core/alternatives.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(Alternatives, follow_a_statement_as_whole_sentences) {
  EXPECT_EQ(alternatives("scal", {"density", "scale"}), "; did you mean 'scale'? Known: density, scale");
  EXPECT_EQ(alternatives("zzzzzz", {"density", "scale"}), ". Known: density, scale");
  EXPECT_EQ(alternatives("scale", {"density", "scale"}), ". Known: density, scale")
      << "it was something else";
  EXPECT_EQ(alternatives("scale", {}), ". There are none");
}

}  // namespace
}  // namespace fusegrid
