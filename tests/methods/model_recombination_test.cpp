#include <map>
#include <set>

#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::model_recombination_test {
namespace {

// Which expert each tensor comes from; fails where it is none's.
std::map<std::string, size_t> sources(const TestZoo& zoo, const std::string& call) {
  const Weights merged = zoo.fuse(call).weights;
  std::map<std::string, size_t> found;
  for (const auto& [name, tensor] : merged) {
    for (size_t i = 0; tensor.is_floating_point() && i < zoo.experts.size(); ++i) {
      if (tensor.equal(zoo.experts[i].at(name))) {
        found[name] = i;
      }
    }
    EXPECT_EQ(found.contains(name), tensor.is_floating_point()) << name;
  }
  return found;
}

TEST(ModelRecombination, takes_each_tensor_from_one_expert_and_each_expert_equally_often) {
  TestZoo zoo = random_zoo(3);
  std::vector<int> drawn(3, 0);
  int total = 0;
  for (zoo.seed = 0; zoo.seed < 20; ++zoo.seed) {
    for (const auto& [name, source] : sources(zoo, "model_recombination")) {
      ++drawn[source];
      ++total;
    }
  }
  for (const int count : drawn) {  // standard deviation of a fair draw: about 0.017
    EXPECT_NEAR(static_cast<double>(count) / total, 1.0 / 3, 0.07);
  }
}

TEST(ModelRecombination, takes_a_layer_as_a_whole_if_asked) {
  TestZoo zoo = random_zoo(3);
  std::set<std::pair<size_t, size_t>> pairs;  // sources of the two layers, over the seeds
  for (zoo.seed = 0; zoo.seed < 10; ++zoo.seed) {
    std::map<char, std::set<size_t>> of_layer;
    const std::string prefix = "vision_model.encoder.layers.";
    for (const auto& [name, source] : sources(zoo, "model_recombination{unit=layer}")) {
      if (name.starts_with(prefix)) {
        of_layer[name[prefix.size()]].insert(source);
      }
    }
    ASSERT_EQ(of_layer.size(), 2U);
    EXPECT_EQ(of_layer['0'].size(), 1U);
    EXPECT_EQ(of_layer['1'].size(), 1U);
    pairs.emplace(*of_layer['0'].begin(), *of_layer['1'].begin());
  }
  EXPECT_GT(pairs.size(), 3U);  // layers are drawn on their own
}

TEST(ModelRecombination, of_one_expert_is_the_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("model_recombination").weights), digest(zoo.experts[0]));
}

}  // namespace
}  // namespace fusegrid::model_recombination_test
