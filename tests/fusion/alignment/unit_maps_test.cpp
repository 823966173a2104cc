#include "fusion/alignment/unit_maps.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "fusion/fused_model.h"
#include "models/tanh_readout.h"
#include "support/golden.h"
#include "support/planted_permutations.h"
#include "support/small_models.h"
#include "support/test_zoo.h"

namespace fusegrid::unit_maps_test {
namespace {

TEST(UnitMaps, of_a_permutation_are_that_permutation) {
  const TestZoo zoo = unit_zoo(1, 1, "cnn");
  const auto groups = zoo.network->architecture->axis_groups();
  const Alignment order = random_alignment(groups, 3);
  expect_close(mapped(zoo.experts[0], groups, unit_maps_of(order, at::kCPU)),
               permuted(zoo.experts[0], groups, order), 0);
}

// Units that stay apart are two networks in one: features side by side.
TEST(UnitMaps, of_units_apart_make_both_models_side_by_side) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(2, 1, family);
    const Architecture& architecture = *zoo.network->architecture;
    const auto groups = architecture.axis_groups();
    std::vector<UnitMaps> maps(2);
    for (const AxisGroup& group : groups) {
      const auto apart = units_apart(group.size, 2, at::kCPU);
      maps[0][group.name] = apart[0];
      maps[1][group.name] = apart[1];
    }
    const Weights both = merged_by_maps(zoo.experts, groups, maps);
    const Inputs inputs = zoo.network->ready(zoo.data.examples("task0", "test", 6).inputs);
    const auto features = [&](const Weights& weights) {
      return architecture.features(weights, inputs, Pooling::kMean);
    };
    expect_close(features(both), concatenate({features(zoo.experts[0]), features(zoo.experts[1])}, 1), 1e-5);
    EXPECT_EQ(stored_entries(zoo.experts, groups, maps),
              static_cast<double>(2 * num_parameters(zoo.experts[0])));
  }
}

TEST(UnitMaps, average_what_makes_no_group) {
  const std::vector<AxisGroup> groups{
      {.name = "units", .size = 2, .axes = {{"head", 1, false}}, .features = false}};
  const at::Tensor one = at::ones({3, 2});
  const UnitMaps same = unit_maps_of({{"units", unmoved(2)}}, at::kCPU);
  const Weights merged = merged_by_maps(
      {{{"head", one}, {"rest", one}}, {{"head", one * 3}, {"rest", one * 5}}}, groups, {same, same});
  expect_close(merged.at("head"), one * 2, 0);
  expect_close(merged.at("rest"), one * 3, 0);
}

// A layer of two units with a norm behind it.
class NormedLayer final : public Architecture {
 public:
  NormedLayer(bool batch_norm, int64_t unit) : batch_norm_(batch_norm), unit_(unit) {}
  std::string name() const override { return "normed"; }
  InputFormat input() const override { return {}; }
  int64_t feature_size() const override { return 2; }
  int64_t num_tokens() const override { return 1; }
  std::vector<Layer> layers() const override { return {}; }
  std::vector<TensorInfo> parameters() const override {
    std::vector<TensorInfo> all{{"layer.weight", {2, 3}}, {"norm.bias", {2}}, {"norm.weight", {2}}};
    if (batch_norm_) {
      all.insert(all.begin() + 2, {{"norm.running_mean", {2}}, {"norm.running_var", {2}}});
    }
    return all;
  }
  std::vector<AxisGroup> axis_groups() const override {
    AxisGroup group{.name = "units", .size = 2 / unit_, .unit = unit_, .axes = {}};
    for (const TensorInfo& info : parameters()) {
      group.axes.push_back({info.name, 0, true});
    }
    return {group};
  }
  at::Tensor features(const Weights&, const Inputs&, Pooling, const Pass&) const override { return {}; }

 private:
  bool batch_norm_;
  int64_t unit_;
};

TEST(FreeWidths, have_batch_norms_but_no_layer_norms_and_no_heads) {
  EXPECT_TRUE(has_free_widths(NormedLayer(true, 1)));
  EXPECT_FALSE(has_free_widths(NormedLayer(false, 1)));
  EXPECT_FALSE(has_free_widths(NormedLayer(true, 2)));
}

TEST(FreeWidths, have_perceptrons_and_no_layers_normed_as_a_whole) {
  EXPECT_TRUE(has_free_widths(*unit_zoo(1).network->architecture));
  EXPECT_TRUE(has_free_widths(*unit_zoo(1, 1, "cnn").network->architecture));
}

// W (map z) for any map, and for a permutation of the features the same logits.
TEST(MappedReadout, reads_mapped_features) {
  const at::Tensor weight = normal(1, 0, 0, 20).view({4, 5});
  const at::Tensor bias = normal(1, 1, 0, 4);
  const at::Tensor projection = normal(1, 2, 0, 15).view({3, 5});
  const at::Tensor rows = normal(1, 3, 0, 12).view({4, 3});
  const at::Tensor features = normal(1, 4, 0, 35).view({7, 5});
  const at::Tensor map = normal(1, 5, 0, 30).view({5, 6}).to(at::kDouble);
  const at::Tensor merged = normal(1, 6, 0, 42).view({7, 6});
  for (const auto& readout :
       {affine_readout(weight, bias, Pooling::kMean), cosine_readout(rows, 3, projection),
        cosine_readout(weight, 3),
        tanh_readout(projection, bias.narrow(0, 0, 3), affine_readout(rows, bias, Pooling::kFirst))}) {
    const auto own = readout->of_mapped_features(map);
    EXPECT_EQ(own->features(), 6);
    EXPECT_EQ(own->outputs(), readout->outputs());
    EXPECT_EQ(own->pooling(), readout->pooling());
    expect_close((*own)({}, merged), (*readout)({}, at::matmul(merged, map.t().to(at::kFloat))), 1e-5);
  }
}

TEST(MappedReadout, is_none_where_the_model_holds_its_head) {
  const std::vector<AxisGroup> groups{{.name = "units", .size = 5, .axes = {}, .features = true}};
  const UnitMaps maps = unit_maps_of({{"units", unmoved(5)}}, at::kCPU);
  EXPECT_EQ(mapped_readout(*own_readout({.weight = "head"}, 5, 2), groups, maps), nullptr);
  const auto outside = affine_readout(at::ones({2, 5}), at::ones({2}), Pooling::kMean);
  EXPECT_EQ(mapped_readout(*outside, groups, {}), nullptr);
  EXPECT_NE(mapped_readout(*outside, groups, maps), nullptr);
  EXPECT_THROW(own_readout({.weight = "head"}, 5, 2)->of_mapped_features(at::ones({5, 5})), ConfigError);
}

}  // namespace
}  // namespace fusegrid::unit_maps_test
