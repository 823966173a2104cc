#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/method.h"
#include "support/temporary_folder.h"
#include "support/test_zoo.h"

namespace fusegrid::member_test {
namespace {

TEST(Member, is_the_expert_at_its_place) {
  const TestZoo zoo = random_zoo(3);
  const Merged second = zoo.fuse("member{index=1}");
  EXPECT_EQ(digest(second.weights), digest(zoo.experts[1]));
  EXPECT_EQ(second.facts.at("member"), zoo.tasks[1]);
  EXPECT_EQ(digest(zoo.fuse("member").weights), digest(zoo.experts[0]));
}

TEST(Member, beyond_the_experts_is_refused_before_work_begins) {
  const Method& method = method_registry().at("member");
  EXPECT_NO_THROW(method.check({{"index", "2"}}, method.card, 3));
  EXPECT_THAT(message_of<ConfigError>([&] {
                method.check({{"index", "3"}}, method.card, 3);
              }),
              testing::HasSubstr("an index below the number of experts, 3, but it is 3"));
}

}  // namespace
}  // namespace fusegrid::member_test
