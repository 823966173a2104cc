// A zoo small enough to be merged in milliseconds, and the way the worker merges it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/low_rank_factors.h"
#include "core/weights.h"
#include "fusion/data_source.h"
#include "fusion/whole_model/statistics_cache.h"

namespace fusegrid {

class FusionInput;
struct FusedModel;
struct MethodCard;
struct Network;
class Readout;
enum class Need;

// Examples in memory; remembers which splits were asked for.
class SyntheticData final : public DataSource {
 public:
  void set(const std::string& task, const std::string& split, Examples examples);
  void set_kind(const std::string& task, std::shared_ptr<const TaskKind> kind);
  Examples examples(const std::string& task, const std::string& split, int64_t count) const override;
  const TaskKind& kind(const std::string& task) const override;  // of classes where none was set
  std::string key() const override { return "synthetic"; }
  std::set<std::string> touched() const { return touched_; }

 private:
  std::map<std::string, Examples> examples_;
  std::map<std::string, std::shared_ptr<const TaskKind>> kinds_;
  mutable std::set<std::string> touched_;
};

// What a method returned, in parts that tests compare.
struct Merged {
  std::shared_ptr<const FusedModel> model;
  Weights weights;  // all that the predictor holds
  std::map<std::string, std::string> facts;
  double stored_parameters = 0;
};

struct TestZoo {
  std::shared_ptr<Network> network;
  std::vector<std::string> tasks;  // names of the experts, each of which owns the task of its name ...
  std::map<std::string, std::string> owners = {};  // ... where this does not say who owns which task
  Weights base;
  std::vector<Weights> experts;             // in the order of `tasks`
  std::vector<FactorsByName> factors = {};  // of the experts, where they are adapters
  Weights multitask;
  std::map<std::string, std::shared_ptr<const Readout>> multitask_readouts = {};
  std::map<std::string, std::map<std::string, std::vector<int64_t>>> classes_seen =
      {};  // as FusionContext has it
  SyntheticData data;
  std::shared_ptr<StatisticsCache> cache = std::make_shared<StatisticsCache>(1 << 28, "", at::kCPU);
  uint64_t seed = 0;

  // Calls a registered method as the worker does: fuse("ties{density=0.2}"). A method whose card does not
  // declare the base does not get it.
  Merged fuse(const std::string& call) const;
  // Runs `visit` with the input that a method of this card would get.
  void with_input(const MethodCard& card, const std::function<void(const FusionInput&)>& visit) const;
  void with_needs(const std::set<Need>& needs, const std::function<void(const FusionInput&)>& visit) const;
  // Logits of `task`'s test inputs, under the model's own readout where it has one. `batch`: inputs per forward pass.
  at::Tensor logits(const Merged& merged, const std::string& task, int64_t batch = 1 << 20) const;
  // The same of one model.
  at::Tensor logits_of(const Weights& weights, const std::string& task) const;
  std::string expert_key(size_t index) const {
    return digest(experts[index]) + (factors.empty() ? "" : "/" + digest(factors[index]));
  }
  std::string expert_on_data_key(size_t index) const;
  // Keeps the first `count` experts.
  TestZoo first(size_t count) const;
};

// A CLIP tower of width 8 with two blocks, random experts around a random base (standard deviation of the
// task vectors: `spread`), 3 to 5 classes per task, images of noise, and an integer tensor as published
// checkpoints have.
TestZoo random_zoo(size_t experts, double spread = 0.05);
// The same under affine heads.
TestZoo affine_zoo(size_t experts, double spread = 0.05);
// A T5 of width 8 with 7 tokens, random experts as above, tasks of the kind generate with rows of 1 to 12 tokens; the
// models' answers have up to 4, the end included.
TestZoo token_zoo(size_t experts, double spread = 0.2);
// The same of a GPT-2 with tasks of the kind multiple_choice: 2 or 3 choices of 1 to 4 tokens.
TestZoo choice_zoo(size_t experts, double spread = 0.2);
// Models of layers of units, which can be permuted: random experts as above but nearly independent of each other at the
// default spread, tasks and images as of random_zoo(). model_type: mlp (of 10 and 8 units) or cnn (of 6 and 8
// channels).
TestZoo unit_zoo(size_t experts, double spread = 1, const std::string& model_type = "mlp");
// tests/golden/methods/inputs.safetensors: base and experts expert0 to expert3, exact in float32. No data.
TestZoo golden_zoo();

// Random tensors of the same shapes, standard deviation `spread`, added to the floating tensors.
Weights perturbed(const Weights& weights, double spread, uint64_t key);

}  // namespace fusegrid
