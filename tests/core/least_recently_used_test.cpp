#include "core/least_recently_used.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(LeastRecentlyUsed, drops_what_was_not_used_for_longest) {
  LeastRecentlyUsed<int> kept(2);
  kept.keep("a", 1, 1);
  kept.keep("b", 2, 1);
  kept.find("a");
  kept.keep("c", 3, 1);
  EXPECT_EQ(kept.find("b"), nullptr);
  EXPECT_EQ(*kept.find("a"), 1);
  EXPECT_EQ(*kept.find("c"), 3);
  EXPECT_EQ(kept.bytes(), 2);
}

TEST(LeastRecentlyUsed, never_drops_what_is_held) {
  LeastRecentlyUsed<int> kept(2);
  const auto held = kept.keep("held", 1, 2);
  kept.keep("a", 2, 2);
  EXPECT_EQ(kept.bytes(), 4);
  kept.keep("b", 3, 2);  // a goes, though it is newer
  EXPECT_EQ(kept.find("a"), nullptr);
  EXPECT_EQ(kept.find("held"), held);
}

TEST(LeastRecentlyUsed, makes_room_before_a_value_is_there) {
  LeastRecentlyUsed<int> kept(10);
  kept.keep("a", 1, 4);
  kept.keep("b", 2, 4);
  kept.make_room(2);
  EXPECT_EQ(kept.bytes(), 8);
  kept.make_room(3);
  EXPECT_EQ(kept.bytes(), 4);
  kept.make_room(11);
  EXPECT_EQ(kept.bytes(), 0);
  EXPECT_EQ(*kept.keep("large", 5, 11), 5);
  EXPECT_EQ(*kept.find("large"), 5);
}

}  // namespace
}  // namespace fusegrid
