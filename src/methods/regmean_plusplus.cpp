// RegMean++: RegMean block by block from the input on, where the inputs of a block are what the merged blocks before it
// make of the data, so that a layer is merged for the inputs that it will see.
//
// Source:  Nguyen et al., "RegMean++: Enhancing Effectiveness and Generalization of Regression Mean for Model Merging",
//          2025, arXiv:2508.03121, and FusionBench, whose settings are the defaults.
// Differs: solved as RegMean is (regression_mean.h). Tensors outside the blocks are averaged, the last norm too, which
//          FusionBench leaves at the base's. Layers with a common input (q, k, v) share one Gram matrix. In a model
//          that answers in tokens the answers are those that each expert gives by itself.
// Grain:   whole model: each block is passed with the weights of every expert, then with the merged ones.
// Cost:    256 inputs twice through the blocks per expert; the hidden states of all of them are held.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "fusion/demands.h"
#include "fusion/fusion_input.h"
#include "fusion/subspaces/regression_mean.h"
#include "fusion/whole_model/statistics.h"
#include "models/feeder.h"

namespace fusegrid::methods::regmean_plusplus {
namespace {

constexpr int64_t kBatch = 256;

struct Options {
  int64_t examples = 256;
  double ratio = 0.95;
  double ridge = 1e-8;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("examples", examples, Range{1, 1e6}, "unlabelled training inputs per expert");
    v.param("ratio", ratio, Range{0, 1}, "factor of the off-diagonal entries of the Gram matrices");
    v.param("ridge", ridge, Range{1e-14, 1}, "added to the diagonal, in units of its mean");
  }
};

// Inputs of one task on their way through the merged blocks.
struct Batch {
  Inputs inputs;
  at::Tensor mask;
  at::Tensor hidden;  // [n, tokens, width]
};
struct Task {
  size_t expert = 0;
  std::vector<Batch> batches;
};

class Merge {
 public:
  Merge(const FusionInput& in, const Options& options)
      : in_(in),
        options_(options),
        blocks_(required_blocks("regmean_plusplus", *in.network().architecture)),
        merged_(in.map_elements([](const Slice& slice) { return mean_of(slice.expert_views()); })) {
    for (size_t i = 0; i < in.num_experts(); ++i) {
      const std::vector<std::string> names = in.tasks_of(i);
      if (names.empty()) {
        throw ConfigError("method 'regmean_plusplus' needs training inputs of every expert, but '" +
                          in.expert_names()[i] +
                          "' owns no task; leave it out, or use a method without data");
      }
      for (const std::string& name : names) {
        tasks_.push_back({i, embedded(i, name, options.examples / static_cast<int64_t>(names.size()))});
      }
    }
  }

  Weights run() {
    for (int64_t block = 0; block < blocks_.size(); ++block) {
      merge_block(block);
      if (block + 1 < blocks_.size()) {
        const Weights held = rounded(merged_, in_.network().precision);
        for (Task& task : tasks_) {
          for (Batch& batch : task.batches) {
            batch.hidden = passed(held, block, batch, {});
          }
        }
      }
    }
    return std::move(merged_);
  }

 private:
  std::vector<Batch> embedded(size_t expert, const std::string& task, int64_t count) const {
    const Network& network = in_.network();
    const Weights held = rounded(merged_, network.precision);
    const Asker output = asker_of(network, rounded(in_.expert(expert), network.precision), task);
    std::vector<Batch> batches;
    feed(network, in_.train_inputs(task, std::max<int64_t>(count, 1)), kBatch,
         [&](const Inputs& ready, const at::Tensor&) {
           const Inputs completed = in_.kind(task).completed(ready, output);
           batches.push_back({completed, blocks_.mask(completed), blocks_.embed(held, completed)});
           in_.tick();
         });
    return batches;
  }

  at::Tensor passed(const Weights& held, int64_t block, const Batch& batch, const Pass& pass) const {
    in_.tick();
    const at::Tensor x = blocks_.attention(held, block, batch.hidden, batch.mask, pass);
    return blocks_.add_mlp(held, block, x, blocks_.mlp(held, block, blocks_.mlp_input(held, block, x), pass));
  }

  // Of an expert's layers in the block: the mean over its tasks.
  Weights grams(int64_t block, size_t expert) const {
    const Weights held = rounded(in_.expert(expert), in_.network().precision);
    const auto tasks = static_cast<double>(in_.tasks_of(expert).size());
    Weights means;
    for (const Task& task : tasks_) {
      if (task.expert != expert) {
        continue;
      }
      GramSums sums(*in_.network().architecture);
      for (const Batch& batch : task.batches) {
        passed(held, block, batch, {sums.observing(batch.inputs)});
      }
      for (const auto& [input, gram] : sums.means()) {
        const auto [mean, first] = means.try_emplace(input, gram / tasks);
        if (!first) {
          mean->second.add_(gram / tasks);
        }
      }
    }
    return means;
  }

  void merge_block(int64_t block) {
    std::vector<Weights> of_experts;
    for (size_t i = 0; i < in_.num_experts(); ++i) {
      of_experts.push_back(grams(block, i));
    }
    for (const Layer& layer : in_.network().architecture->layers()) {
      if (!of_experts[0].contains(layer.input)) {
        continue;  // another block's
      }
      std::vector<at::Tensor> weights;
      std::vector<at::Tensor> inputs;
      for (size_t i = 0; i < of_experts.size(); ++i) {
        weights.push_back(in_.expert(i).at(layer.weight));
        inputs.push_back(of_experts[i].at(layer.input));
      }
      merged_[layer.weight] = regression_mean(weights, inputs, options_.ratio, options_.ridge);
    }
  }

  const FusionInput& in_;
  const Options& options_;
  const Blocks& blocks_;
  Weights merged_;
  std::vector<Task> tasks_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const PrecisionScope scope(in.network().precision);
  return one_model(Merge(in, options).run());
}

const RegisterMethod<Options> registered{
    {.name = "regmean_plusplus",
     .title = "RegMean++",
     .paper = "Nguyen et al., 2025, arXiv:2508.03121",
     .formula = R"(block by block, from the input on:
W^T = (sum_i G_i')^-1 sum_i G_i' W_i^T,   G_i' = ratio G_i + (1 - ratio) diag(G_i),   G_i = X_i^T X_i / rows
X_i: what a layer of expert i's block reads, where the block reads what the merged blocks before it make)",
     .family = Family::kStatistics,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs},
     .demands = {Demand::kBlocks, Demand::kLayers},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::regmean_plusplus
