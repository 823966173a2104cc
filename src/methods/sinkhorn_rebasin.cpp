// Sinkhorn Re-Basin: permutations as the limit of doubly stochastic matrices, which gradients can train. In the middle
// between the first model and the other one, softly permuted, the loss is lowered; then the nearest permutations.
//
//   P = sinkhorn(X / temperature),   X minimises L((theta_1 + P(theta_2)) / 2)  or  |theta_1 - P(theta_2)|^2
//
// Source:  Pena et al., "Re-basin via implicit Sinkhorn differentiation", CVPR 2023, arXiv:2212.12042; the objectives
//          are its C_Mid and C_L2.
// Differs: gradients flow through the iterations of Sinkhorn themselves, in the logarithm, not through their implicit
//          derivative. All examples in every step. X starts at the identity, where every unit is somewhat rather
//          itself. Of more than two models each is matched to the first.
// Grain:   whole model: forward and backward passes.
// Cost:    per step and model one pass of `examples` forward and backward, or the product of all matrices, and 20
//          iterations of Sinkhorn per group.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>

#include "core/text.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/assignment.h"
#include "fusion/alignment/sinkhorn.h"
#include "fusion/alignment/training_loss.h"
#include "fusion/whole_model/adam.h"

namespace fusegrid::methods::sinkhorn_rebasin {
namespace {

constexpr int64_t kIterations = 20;

struct Options {
  std::string objective = "middle";
  int64_t steps = 100;
  double lr = 0.1;
  double temperature = 1;
  int64_t examples = 512;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("objective", objective, Choices{"middle", "distance"},
            "what is lowered: the loss in the middle of both models, or the distance of their weights");
    v.param("steps", steps, Range{1, 1e6}, "steps of Adam");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("temperature", temperature, Range{1e-3, 100}, "of the soft permutations");
    v.param("examples", examples, Range{1, 1e6},
            "labelled training examples of two models together; distances need none");
    describe_position(v, t);
  }
  void check(int64_t experts) const { check_position("sinkhorn_rebasin", t, experts); }
  std::set<Need> needs(std::set<Need> of_card) const {
    return objective == "distance" ? std::set<Need>{} : of_card;
  }
};

class SoftPermutations {
 public:
  SoftPermutations(const FusionInput& in, const Options& options, size_t expert)
      : in_(in), options_(options), expert_(expert) {
    for (const AxisGroup& group : groups_) {
      const auto on_device = at::TensorOptions(at::kFloat).device(in.device());
      logits_[group.name] = at::eye(group.size, on_device).requires_grad_(true);
      adams_.emplace(group.name, Adam(logits_.at(group.name), options.lr));
    }
  }

  Alignment trained() {
    std::optional<TrainingLoss> loss;
    if (options_.objective == "middle") {
      loss.emplace(in_, 0, expert_, options_.examples);
    }
    for (int64_t step = 0; step < options_.steps; ++step) {
      if (loss) {
        loss->add_gradients([&] { return middle(); });
      } else {
        add_gradients_of_distance();
      }
      for (auto& [group, adam] : adams_) {
        at::Tensor& gradient = logits_.at(group).mutable_grad();
        if (gradient.defined()) {
          adam.step(gradient);
          gradient.reset();
        }
      }
      in_.tick();
    }
    Alignment nearest;
    for (const auto& [group, logits] : logits_) {
      nearest[group] = best_assignment(sinkhorn(logits.detach(), options_.temperature, kIterations));
    }
    return nearest;
  }

 private:
  UnitMaps soft_maps() const {
    UnitMaps maps;
    for (const auto& [group, logits] : logits_) {
      const at::Tensor plan = sinkhorn(logits, options_.temperature, kIterations);
      maps[group] = {plan, plan.t()};
    }
    return maps;
  }

  TrainingLoss::Model middle() const {
    std::vector<UnitMaps> maps(in_.num_experts());
    maps[expert_] = soft_maps();
    Weights weights = in_.expert(0);
    const Weights other = mapped(in_.expert(expert_), groups_, maps[expert_]);
    for (const TensorInfo& info : in_.tensors()) {
      weights.at(info.name) = (weights.at(info.name) + other.at(info.name)) * 0.5;
    }
    return {weights, mapped_readouts(in_, maps)};
  }

  void add_gradients_of_distance() const {
    const at::AutoGradMode with_gradients(true);
    const Weights other = mapped(in_.expert(expert_), groups_, soft_maps());
    at::Tensor distance;
    for (const TensorInfo& info : in_.tensors()) {
      const at::Tensor apart = (in_.expert(0).at(info.name) - other.at(info.name)).square().sum();
      distance = distance.defined() ? distance + apart : apart;
    }
    (distance / static_cast<double>(in_.num_elements())).backward();
  }

  const FusionInput& in_;
  const Options& options_;
  size_t expert_;
  std::vector<AxisGroup> groups_ = in_.network().architecture->axis_groups();
  std::map<std::string, at::Tensor> logits_;  // X
  std::map<std::string, Adam> adams_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const auto alignments =
      onto_the_first(in, [&](size_t i) { return SoftPermutations(in, options, i).trained(); });
  return merge_aligned(in, alignments, options.t);
}

const RegisterMethod<Options> registered{
    {.name = "sinkhorn_rebasin",
     .title = "Sinkhorn Re-Basin",
     .paper = "Pena et al., CVPR 2023, arXiv:2212.12042",
     .formula = R"(P_i   = sinkhorn(X_i / temperature): doubly stochastic,   X_i minimises
        L((theta_1 + P_i(theta_i)) / 2) on labelled training examples   or   |theta_1 - P_i(theta_i)|^2
pi_i  = argmax_pi <pi, P_i>
theta = (1 - t) theta_1 + t pi_2(theta_2)   or   1/N sum_i pi_i(theta_i))",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .demands = {Demand::kAxisGroups},
     .order_invariant = false,
     .cost = Cost::kTraining,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::sinkhorn_rebasin
