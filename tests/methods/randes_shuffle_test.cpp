#include <map>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "core/text.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::randes_shuffle_test {
namespace {

// What a task does to a tensor: the tensor in whose place it is superposed, and the signs of its columns there.
struct Context {
  std::map<std::string, std::string> place;  // of the tensors that move
  Weights flips;                             // by place, of the tensors that are flipped
};

std::string placed(const Context& context, const std::string& name) {
  const auto found = context.place.find(name);
  return found == context.place.end() ? name : found->second;
}

at::Tensor flipped(const Context& context, const std::string& place, const at::Tensor& value) {
  const auto found = context.flips.find(place);
  return found == context.flips.end() ? value : value * found->second;
}

// The rule itself in float64.
Weights by_rule(const TestZoo& zoo, const std::vector<Context>& contexts, double scale) {
  Weights superposed;
  for (const auto& [name, base] : zoo.base) {
    superposed[name] = at::zeros_like(base, at::TensorOptions(at::kDouble));
  }
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    for (const auto& [name, base] : zoo.base) {
      const at::Tensor tau = zoo.experts[i].at(name).to(at::kDouble) - base.to(at::kDouble);
      const std::string place = placed(contexts[i], name);
      superposed.at(place) += flipped(contexts[i], place, tau);
    }
  }
  Weights models;
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    for (const auto& [name, base] : zoo.base) {
      const std::string place = placed(contexts[i], name);
      const at::Tensor own = flipped(contexts[i], place, superposed.at(place));
      models[zoo.tasks[i] + "/" + name] = base.to(at::kDouble) + own * scale;
    }
  }
  return models;
}

TestZoo zoo_of(const Golden& golden) {
  TestZoo zoo = random_zoo(3);
  zoo.tasks = {"expert0", "expert1", "expert2"};
  zoo.base = as_float(golden.under("base"));
  for (size_t i = 0; i < zoo.experts.size(); ++i) {
    zoo.experts[i] = as_float(golden.under(zoo.tasks[i]));
  }
  return zoo;
}

std::string in_layer(int64_t layer, const std::string& rest) {
  return "encoder.layers." + std::to_string(layer) + "." + rest;
}

// The rule reproduces the original with the permutations and flips that it drew ...
TEST(RandesShuffle, rule_equals_fusion_bench_with_its_draws) {
  for (const std::string file : {"shuffled", "flipped"}) {
    const Golden golden = read_golden("randes_shuffle__" + file);
    const TestZoo zoo = zoo_of(golden);
    std::vector<Context> contexts(3);
    Weights expected;
    for (size_t i = 0; i < 3; ++i) {
      const at::Tensor places = golden.tensors.at("places/" + zoo.tasks[i]);
      for (const std::string rest : {"mlp.fc1.weight", "self_attn.q_proj.weight"}) {
        for (int64_t layer = 0; layer < 5; ++layer) {
          contexts[i].place[in_layer(layer, rest)] = in_layer(places[layer].item<int64_t>(), rest);
        }
      }
      for (const std::string& name : split(golden.metadata.at("targets"), ';')) {
        if (file == "flipped") {
          const std::string width = std::to_string(zoo.base.at(name).size(-1));
          contexts[i].flips[name] = golden.tensors.at("flips/" + zoo.tasks[i] + "/" + width);
        }
      }
      for (const auto& [name, tensor] : golden.under("retrieved/" + zoo.tasks[i])) {
        expected.emplace(zoo.tasks[i] + "/" + name, tensor);
      }
    }
    expect_close(by_rule(zoo, contexts, 0.5), expected, 1e-14);
  }
}

// ... and the method follows the rule with its own, on everything with two dimensions.
TEST(RandesShuffle, follows_the_rule) {
  TestZoo zoo = zoo_of(read_golden("randes_shuffle__flipped"));
  zoo.seed = 3;
  for (const bool flip : {false, true}) {
    std::vector<Context> contexts(3);
    for (size_t i = 0; i < 3; ++i) {
      const uint64_t key = derive_key(zoo.seed, "randes_shuffle/" + zoo.tasks[i] + "/encoder.layers.");
      const auto order = permutation(key, 0, 5);
      for (const std::string rest : {"mlp.fc1.weight", "self_attn.q_proj.weight"}) {
        for (int64_t layer = 0; layer < 5; ++layer) {
          contexts[i].place[in_layer(layer, rest)] = in_layer(order[static_cast<size_t>(layer)], rest);
        }
      }
      for (const auto& [name, base] : zoo.base) {
        if (flip && base.dim() > 1) {
          const uint64_t signs = derive_key(zoo.seed, "randes/" + zoo.tasks[i] + "/" + name);
          contexts[i].flips[name] = (uniform(signs, 0, 0, base.size(-1)) < 0.5).to(at::kDouble) * 2 - 1;
        }
      }
    }
    const Merged merged =
        zoo.fuse(std::string("randes_shuffle{scale=0.5,flip=") + (flip ? "true}" : "false}"));
    expect_close(merged.weights, by_rule(zoo, contexts, 0.5), 3e-7);
    EXPECT_EQ(merged.facts.at("moved_tensors"), "10");
  }
}

TEST(RandesShuffle, of_one_expert_gives_it_back) {
  const TestZoo zoo = random_zoo(1);
  for (const std::string options : {"flip=true", "flip=false", "tensors=all"}) {
    const Weights merged = zoo.fuse("randes_shuffle{scale=1," + options + "}").weights;
    for (const auto& [name, tensor] : zoo.experts[0]) {
      if (tensor.is_floating_point()) {
        expect_close(merged.at("task0/" + name), tensor, 1.5e-7);
      }
    }
  }
}

// One layer, nothing to shuffle: the same bits, as the flips are the same.
TEST(RandesShuffle, of_a_single_layer_is_randes) {
  const TestZoo zoo = golden_zoo();
  const Merged merged = zoo.fuse("randes_shuffle{scale=0.7}");
  EXPECT_EQ(digest(merged.weights), digest(zoo.fuse("randes{scale=0.7}").weights));
  EXPECT_EQ(merged.facts.at("moved_tensors"), "0");
}

// A zoo of two tasks of which the second changed nothing: what it gets back is all of the first, moved. `tensors`: name
// and shape; the first task's change of a tensor is its number in that list, from 1.
TestZoo idle_zoo(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  TestZoo zoo = random_zoo(2);
  zoo.base.clear();
  zoo.experts = {{}, {}};
  for (const auto& [name, shape] : tensors) {
    zoo.base[name] = at::zeros(shape);
    zoo.experts[0][name] = at::full(shape, static_cast<double>(zoo.base.size()));
    zoo.experts[1][name] = at::zeros(shape);
  }
  return zoo;
}

// The number of the tensor whose change the idle task finds in `name`.
int64_t found_in(const Weights& merged, const std::string& name) {
  const at::Tensor& weight = merged.at("task1/" + name);
  EXPECT_TRUE(weight.eq(weight.reshape(-1)[0]).all().item<bool>()) << name;
  return weight.reshape(-1)[0].item<int64_t>();
}

TEST(RandesShuffle, moves_whole_layers_and_leaves_the_rest) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (int64_t layer = 0; layer < 12; ++layer) {
    tensors.push_back({in_layer(layer, "fc1.weight"), {3, 2}});
    tensors.push_back({in_layer(layer, "fc2.weight"), {2, 3}});
    tensors.push_back({in_layer(layer, "fc2.bias"), {2}});
  }
  tensors.push_back({"embed.weight", {4, 2}});
  const TestZoo zoo = idle_zoo(tensors);
  const Weights merged = zoo.fuse("randes_shuffle{flip=false,scale=1}").weights;
  std::set<int64_t> sources;
  int64_t moved = 0;
  for (int64_t layer = 0; layer < 12; ++layer) {
    const int64_t source = (found_in(merged, in_layer(layer, "fc1.weight")) - 1) / 3;
    EXPECT_EQ(found_in(merged, in_layer(layer, "fc1.weight")), source * 3 + 1);
    EXPECT_EQ(found_in(merged, in_layer(layer, "fc2.weight")),
              source * 3 + 2);  // the same layer of the first task
    EXPECT_EQ(found_in(merged, in_layer(layer, "fc2.bias")), layer * 3 + 3);  // vectors stay
    sources.insert(source);
    moved += source == layer ? 0 : 1;
  }
  EXPECT_EQ(found_in(merged, "embed.weight"), 37);
  EXPECT_EQ(sources.size(), 12U);
  EXPECT_GT(moved, 6);
  for (const auto& [name, tensor] :
       zoo.experts[0]) {  // the first task finds all its own, since the other adds nothing
    EXPECT_TRUE(merged.at("task0/" + name).equal(tensor)) << name;
  }
}

TEST(RandesShuffle, moves_tensors_among_those_of_their_stack_and_shape) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (int64_t layer = 0; layer < 8; ++layer) {
    tensors.push_back({"text.layers." + std::to_string(layer) + ".w", {3, layer < 4 ? 2 : 5}});
    tensors.push_back({"vision.layers." + std::to_string(layer) + ".w", {3, 2}});
  }
  const TestZoo zoo = idle_zoo(tensors);
  const Weights merged = zoo.fuse("randes_shuffle{flip=false,scale=1}").weights;
  int64_t alike = 0;
  for (int64_t layer = 0; layer < 8; ++layer) {
    const int64_t text = found_in(merged, "text.layers." + std::to_string(layer) + ".w") - 1;
    const int64_t vision = found_in(merged, "vision.layers." + std::to_string(layer) + ".w") - 1;
    EXPECT_EQ(text % 2, 0);
    EXPECT_EQ(vision % 2, 1);
    EXPECT_EQ(text / 2 < 4, layer < 4);
    alike += text / 2 == vision / 2 ? 1 : 0;
  }
  EXPECT_LT(alike, 8);
}

TEST(RandesShuffle, of_all_tensors_moves_vectors_and_scalars_too) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors{{"scale", {}}};
  for (int64_t layer = 0; layer < 6; ++layer) {
    tensors.push_back({in_layer(layer, "bias"), {2}});
    tensors.push_back({in_layer(layer, "scale"), {}});
  }
  const TestZoo zoo = idle_zoo(tensors);
  const Merged merged = zoo.fuse("randes_shuffle{tensors=all,scale=1}");
  EXPECT_EQ(merged.facts.at("moved_tensors"), "12");
  for (const auto& [name, tensor] : zoo.experts[0]) {
    EXPECT_TRUE(merged.weights.at("task0/" + name).equal(tensor)) << name;
    EXPECT_EQ(merged.weights.at("task1/" + name).sizes(), tensor.sizes());
  }
}

// One superposition however many tasks: base, sum, and a seed for each.
TEST(RandesShuffle, stores_two_models_and_a_seed_per_task) {
  TestZoo zoo = idle_zoo({{"w.0.x", {2, 3}}, {"w.1.x", {2, 3}}});
  EXPECT_DOUBLE_EQ(zoo.fuse("randes_shuffle").stored_parameters, 2 * 12 + 2);
  for (int copy = 0; copy < 3; ++copy) {
    zoo.tasks.push_back("more" + std::to_string(copy));
    zoo.experts.push_back(zoo.experts[0]);
  }
  EXPECT_DOUBLE_EQ(zoo.fuse("randes_shuffle").stored_parameters, 2 * 12 + 5);
}

}  // namespace
}  // namespace fusegrid::randes_shuffle_test
