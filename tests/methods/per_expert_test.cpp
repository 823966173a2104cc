// Parameters that may have one number for all experts, or one per expert.
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "support/golden.h"
#include "support/line_zoo.h"

namespace fusegrid::per_expert_test {
namespace {

struct PerExpert {
  std::string method;
  std::string parameter;
  std::string value;  // its default
};

std::vector<PerExpert> all() {
  std::vector<PerExpert> found;
  for (const std::string& name : method_registry().names()) {
    for (const ParamInfo& parameter : method_registry().at(name).params()) {
      if (parameter.doc.ends_with("one, or one per expert")) {
        found.push_back({name, parameter.name, parameter.value});
      }
    }
  }
  return found;
}

class PerExpertParameter : public testing::TestWithParam<PerExpert> {};

TEST_P(PerExpertParameter, of_equal_numbers_is_the_one_number) {
  const auto& [method, parameter, value] = GetParam();
  const TestZoo zoo = random_zoo(3);
  TestZoo other = zoo;  // another cache, so that nothing is shared
  other.cache = std::make_shared<StatisticsCache>(int64_t{1} << 20, "", at::kCPU);
  const auto call = [&](const std::string& text) { return method + "{" + parameter + "=" + text + "}"; };
  EXPECT_EQ(digest(zoo.fuse(call(value)).weights), digest(zoo.fuse(method).weights));
  EXPECT_EQ(digest(other.fuse(call(value + ":" + value + ":" + value)).weights),
            digest(zoo.fuse(method).weights));
}

TEST_P(PerExpertParameter, acts_on_its_expert) {
  const auto& [method, parameter, value] = GetParam();
  const TestZoo zoo = random_zoo(3);
  const std::string half = number_text(parse_double(value, parameter) / 2);
  std::set<std::string> digests{digest(zoo.fuse(method).weights)};
  for (const std::string& list : {half + ":" + value + ":" + value, value + ":" + half + ":" + value,
                                  value + ":" + value + ":" + half}) {
    digests.insert(digest(zoo.fuse(method + "{" + parameter + "=" + list + "}").weights));
  }
  EXPECT_EQ(digests.size(), 4U);
}

TEST_P(PerExpertParameter, is_refused_with_another_length) {
  const auto& [method, parameter, value] = GetParam();
  const Method& registered = method_registry().at(method);
  for (const std::string& list : {std::string(), value + ":" + value}) {
    EXPECT_THROW(registered.check({{parameter, list}}, registered.card, 3), ConfigError) << list;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, PerExpertParameter, testing::ValuesIn(all()),
                         [](const auto& one) { return one.param.method + "_" + one.param.parameter; });

TEST(PerExpertParameters, are_those_that_mergekit_has_by_model) {
  std::set<std::string> found;
  for (const auto& [method, parameter, value] : all()) {
    found.insert(method + "/" + parameter);
  }
  EXPECT_EQ(found, (std::set<std::string>{"breadcrumbs/density", "breadcrumbs/gamma", "dare/drop_rate",
                                          "dare_ties/density", "dare_ties/drop_rate", "della/density",
                                          "della/epsilon", "ties/density"}));
}

// By hand: of the first vector one entry in four, of the second all.
TEST(PerExpertParameters, of_ties_trim_each_vector_at_its_own_threshold) {
  const TestZoo zoo = line_zoo({{1, 2, 3, 8}, {10, 10, -10, 10}});
  expect_line(merged_task_vector(zoo, "ties{dialect=mergekit,density=0.25:1,scale=1}"), {10, 10, -10, 18});
  // fusion_bench keeps int(4 * 0.25) + 1 entries
  expect_line(merged_task_vector(zoo, "ties{density=0.25:1,scale=1}"), {10, 10, -10, 18});
}

TEST(PerExpertParameters, of_breadcrumbs_drop_the_largest_of_each_vector) {
  const TestZoo zoo = line_zoo({{1, 2, 3, 8}, {10, 20, -30, 40}});
  expect_line(merged_task_vector(zoo, "breadcrumbs{density=0.5,gamma=0.25:0,scale=1}"), {0, 2, -27, 40});
}

}  // namespace
}  // namespace fusegrid::per_expert_test
