#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>

#include "methods/alignment_checks.h"

namespace fusegrid::ot_fusion_test {
namespace {

TEST(OtFusion, equals_its_definition) {
  const TestZoo zoo = perceptrons_of_golden();
  expect_equals_golden(zoo, "ot_fusion", "ot_fusion");
  expect_equals_golden(zoo, "ot_fusion{regularisation=0.05}", "ot_fusion_entropic");
  expect_equals_golden(zoo, "ot_fusion{cost=activations,regularisation=0.05}", "ot_fusion_activations");
}

TEST(OtFusion, with_exact_transports_is_a_permutation) {
  for (const std::string family : {"mlp", "cnn"}) {
    for (const std::string call : {"ot_fusion{t=1}", "ot_fusion{t=1,cost=activations}"}) {
      const TestZoo zoo = unit_zoo(2, 2, family);
      const Merged second = zoo.fuse(call);
      expect_close(zoo.logits(second, "task1"), zoo.logits_of(zoo.experts[1], "task1"), 1e-4);
      for (const std::string layer : {"layers.0.bias", "layers.1.bias"}) {
        expect_close(std::get<0>(second.weights.at(layer).sort()),
                     std::get<0>(zoo.experts[1].at(layer).sort()), 0);
      }
    }
  }
}

// As many more units as a group has, which nothing makes and nothing reads.
Weights with_idle_units(const Weights& narrow, const Architecture& wide) {
  Weights model;
  for (const TensorInfo& info : wide.parameters()) {
    const at::Tensor& tensor = narrow.at(info.name);
    model[info.name] = at::full(info.shape, info.name.ends_with("running_var") ? 1 : 0, tensor.options());
    at::Tensor block = model[info.name];
    for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
      block = block.narrow(axis, 0, tensor.size(axis));
    }
    block.copy_(tensor);
  }
  return model;
}

// Every unit twice, side by side; what reads one reads one half from each.
Weights with_split_units(const Weights& narrow, const std::vector<AxisGroup>& groups) {
  UnitMaps maps;
  for (const AxisGroup& group : groups) {
    const at::Tensor twice = at::eye(group.size, at::kDouble).repeat_interleave(2, 0);
    maps[group.name] = {twice, twice.t() / 2};
  }
  return mapped(narrow, groups, maps);
}

// Two networks of one function in an architecture of twice its units: those idle, or each unit split.
TestZoo zoo_of_two_widths(const std::string& family) {
  const TestZoo narrow = unit_zoo(1, 1, family);
  std::vector<int64_t> widths;
  for (const AxisGroup& group : narrow.network->architecture->axis_groups()) {
    widths.push_back(2 * group.size);
  }
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture =
      make_architecture({{"model_type", family}, {"image_size", 8}, {"hidden_sizes", widths}});
  zoo.tasks = {"idle", "split"};
  zoo.experts = {with_idle_units(narrow.experts[0], *zoo.network->architecture),
                 with_split_units(narrow.experts[0], narrow.network->architecture->axis_groups())};
  zoo.owners = {{"images", "idle"}};
  zoo.network->readouts["images"] =
      affine_readout(at::ones({2, widths.back()}), at::ones({2}), Pooling::kMean);
  zoo.data.set("images", "train",
               {.inputs = {(uniform(3, 0, 0, 40 * 3 * 64) * 255).to(at::kByte).view({40, 3, 8, 8}), {}, {}},
                .labels = at::zeros({40}, at::kLong)});
  return zoo;
}

TEST(OtFusion, keeps_the_function_of_a_network_of_another_width) {
  for (const std::string family : {"mlp", "cnn"}) {
    for (const std::string call : {"ot_fusion", "ot_fusion{cost=activations}"}) {
      TestZoo zoo = zoo_of_two_widths(family);
      expect_close(zoo.fuse(call).weights, zoo.experts[0], 1e-6);  // onto the narrow one
      std::swap(zoo.experts[0], zoo.experts[1]);
      expect_close(zoo.fuse(call).weights, zoo.experts[0], 1e-6);
    }
  }
}

TEST(OtFusion, of_other_widths_equals_its_definition) {
  TestZoo zoo = perceptrons_of_golden();
  const Weights wide = zoo.experts[0];
  const Weights narrow =
      with_idle_units(read_golden("alignment__perceptrons").under("narrow"), *zoo.network->architecture);
  zoo.experts = {wide, narrow};
  expect_equals_golden(zoo, "ot_fusion", "ot_fusion_onto_wide");
  zoo.experts = {narrow, wide};
  expect_close(zoo.fuse("ot_fusion").weights,
               with_idle_units(read_golden("alignment__perceptrons").under("ot_fusion_onto_narrow"),
                               *zoo.network->architecture),
               2e-6);
}

TEST(OtFusion, refuses_an_expert_without_units) {
  TestZoo zoo = unit_zoo(2);
  for (auto& [name, tensor] : zoo.experts[1]) {
    tensor = tensor * 0;
  }
  EXPECT_THROW(zoo.fuse("ot_fusion"), DataError);
}

TEST(OtFusion, goes_to_exact_transports_where_entropy_counts_less) {
  const TestZoo zoo = perceptrons_of_golden();
  const Weights exact = zoo.fuse("ot_fusion").weights;
  double before = 1e9;
  for (const std::string regularisation : {"0.3", "0.03", "0.003"}) {
    double apart = 0;
    for (const auto& [name, tensor] : zoo.fuse("ot_fusion{regularisation=" + regularisation + "}").weights) {
      apart = std::max(apart, (tensor - exact.at(name)).abs().max().item<double>());
    }
    EXPECT_LT(apart, before);
    before = apart;
  }
  EXPECT_LT(before, 0.02);
}

TEST(OtFusion, aligns_permuted_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("ot_fusion", 3, family);
    expect_aligns_copies("ot_fusion{cost=activations}", 3, family);
  }
}

TEST(OtFusion, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("ot_fusion", 3);
  expect_keeps_a_model("ot_fusion{cost=activations}", 3);
}

TEST(OtFusion, draws_a_path_between_two_models) {
  expect_draws_a_path("ot_fusion");
}

TEST(OtFusion, tells_how_well_its_transports_keep_masses) {
  const TestZoo zoo = unit_zoo(2, 2);
  EXPECT_EQ(zoo.fuse("ot_fusion").facts.at("marginal_error"), "0");
  const double left = std::stod(zoo.fuse("ot_fusion{regularisation=0.1}").facts.at("marginal_error"));
  EXPECT_GT(left, 0);
  EXPECT_LE(left, 1e-9);
}

TEST(OtFusion, needs_inputs_for_activations_alone) {
  const Method& method = method_registry().at("ot_fusion");
  EXPECT_TRUE(method.needs({}).empty());
  EXPECT_EQ(method.needs({{"cost", "activations"}}), std::set<Need>{Need::kTrainInputs});
}

TEST(OtFusion, refuses_entropies_too_small_to_iterate) {
  EXPECT_THROW(unit_zoo(2).fuse("ot_fusion{regularisation=0.0001}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::ot_fusion_test
