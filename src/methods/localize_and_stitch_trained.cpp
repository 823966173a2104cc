// Localize-and-Stitch: find for each task the few entries of its task vector that carry it, by training a mask on
// labelled examples; add them, and where those of several tasks meet their mean.
//
// Source:  He et al., "Localize-and-Stitch: Efficient Model Merging via Sparse Task Arithmetic", TMLR 2025,
//          arXiv:2408.13656; the defaults are those of the authors' vision experiments. A mask is trained as sigmoid(S)
//          and rounded in the end.
// Differs: the penalty is the paper's, l1 sum sigmoid(S); the authors' code drives entries away from 0 instead, by what
//          at its defaults is far below what moves a mask. Examples are so many per expert, theirs so many per class.
//          The loss is that of training, so that numbers and texts have one too.
// Grain:   whole model: the masks are trained by forward and backward passes.
// Cost:    `steps` times the examples forward and backward per expert; one mask of the model's size at a time.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/sigmoid.h>

#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/passes/stitching.h"
#include "models/feeder.h"

namespace fusegrid::methods::localize_and_stitch_trained {
namespace {

struct Options {
  int64_t examples = 512;
  double density = 1e-5;
  double bias = 5;
  double lr = 1e7;
  double l1 = 1;
  int64_t steps = 10;
  int64_t batch = 128;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("examples", examples, Range{1, 1e6}, "labelled training examples per expert");
    v.param("density", density, Range{0, 1}, "fraction of the entries whose mask starts at sigmoid(bias)");
    v.param("bias", bias, Range{0, 100}, "the others start at sigmoid(-bias)");
    v.param("lr", lr, Range{0, 1e12}, "learning rate of the gradient descent");
    v.param("l1", l1, Range{0, 1e12}, "factor of the penalty on the sum of the mask");
    v.param("steps", steps, Range{0, 1e6}, "steps, each over all examples");
    v.param("batch", batch, Range{1, 4096}, "examples of one pass");
  }
};

class Localizer {
 public:
  Localizer(const FusionInput& in, const Options& options, size_t expert, float threshold)
      : in_(in), options_(options) {
    for (const TensorInfo& info : in.tensors()) {
      taus_[info.name] = in.expert(expert).at(info.name) - in.base().at(info.name);
      const at::Tensor start = at::full_like(taus_[info.name], -options.bias);
      logits_[info.name] = start.masked_fill(taus_[info.name].abs() > threshold, options.bias);
    }
    const std::vector<std::string> tasks = in.tasks_of(expert);
    if (tasks.empty()) {
      throw ConfigError("method 'localize_and_stitch_trained' needs examples of every expert, but '" +
                        in.expert_names()[expert] +
                        "' owns no task; leave it out, or use localize_and_stitch");
    }
    const auto count = std::max<int64_t>(1, options.examples / static_cast<int64_t>(tasks.size()));
    for (const std::string& task : tasks) {
      examples_.emplace_back(task, in.train_examples(task, count));
    }
  }

  Weights trained_mask() {
    for (int64_t i = 0; i < options_.steps; ++i) {
      step();
    }
    Weights mask;
    for (const auto& [name, logits] : logits_) {
      mask[name] = (logits > 0).to(at::kFloat);
    }
    return mask;
  }

 private:
  // S -= (lr tau dL/dtheta + l1) sigmoid'(S)
  void step() {
    Weights leaves = in_.base();
    for (const auto& [name, logits] : logits_) {
      leaves[name] = (leaves.at(name) + at::sigmoid(logits) * taus_.at(name)).requires_grad_(true);
    }
    {
      const at::AutoGradMode with_gradients(true);
      const PrecisionScope scope(in_.network().precision);
      for (const auto& [task, examples] : examples_) {
        add_gradients(leaves, task, examples);
      }
    }
    for (auto& [name, logits] : logits_) {
      const at::Tensor sigmoid = at::sigmoid(logits);
      const at::Tensor& gradient = leaves.at(name).grad();
      at::Tensor slope = at::full_like(logits, options_.l1);
      if (gradient.defined()) {
        slope.add_(gradient * taus_.at(name), options_.lr);
      }
      logits.sub_(slope * sigmoid * (1 - sigmoid));
    }
  }

  void add_gradients(const Weights& leaves, const std::string& task, const Examples& examples) {
    const TaskKind& kind = in_.kind(task);
    const double share =
        1 / static_cast<double>(examples.inputs.size()) / static_cast<double>(examples_.size());
    feed(in_.network(), examples.inputs, options_.batch, [&](const Inputs& ready, const at::Tensor& places) {
      const Examples part = examples.at(places, ready).to(in_.network().device);
      const at::Tensor output = in_.network().output(leaves, kind.taught(part), task);
      (kind.losses(output, part).sum() * share).backward();
      in_.tick();
    });
  }

  const FusionInput& in_;
  const Options& options_;
  Weights taus_;
  Weights logits_;  // S
  std::vector<std::pair<std::string, Examples>> examples_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const int64_t all = in.num_elements();
  const auto kept = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(all) * options.density));
  const std::vector<float> thresholds =
      kept == all ? std::vector<float>(in.num_experts(), -1) : in.kth_magnitude(all - kept + 1);
  std::vector<Weights> masks;
  std::vector<std::string> densities;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    masks.push_back(Localizer(in, options, i, thresholds[i]).trained_mask());
    double entries = 0;
    for (const auto& [name, mask] : masks.back()) {
      entries += mask.sum().item<double>();
    }
    densities.push_back(in.expert_names()[i] + "=" + number_text(entries / static_cast<double>(all)));
  }
  FusedModel fused = one_model(in.map_elements([&](const Slice& slice) {
    std::vector<at::Tensor> of_slice;
    for (const Weights& mask : masks) {
      of_slice.push_back(slice.of(mask));
    }
    return slice.base() + stitched(slice.task_vectors(), of_slice);
  }));
  fused.facts["densities"] = join(densities, " ");
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "localize_and_stitch_trained",
     .title = "Localize-and-Stitch",
     .paper = "He et al., TMLR 2025, arXiv:2408.13656",
     .formula =
         R"(S_i minimises loss_i(theta_0 + sigmoid(S_i) tau_i) + l1 / lr * sum sigmoid(S_i),   m_i = [S_i > 0]
theta = theta_0 + sum_i m_i tau_i / max(1, sum_i m_i))",
     .family = Family::kStatistics,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .cost = Cost::kTraining},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::localize_and_stitch_trained
