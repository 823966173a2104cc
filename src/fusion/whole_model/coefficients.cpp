#include "fusion/whole_model/coefficients.h"

#include <algorithm>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/passes/sign_election.h"
#include "fusion/whole_model/adam.h"
#include "fusion/whole_model/batch_statistics.h"

namespace fusegrid {
namespace {

// On a GPU, where making the task vectors anew in each step takes longer than the passes through a model, they are kept
// as long as they are not too many; else the experts are not held a second time.
constexpr int64_t kMostKeptBytes = int64_t{16} << 30;

int64_t largest_tensor(const FusionInput& in) {
  int64_t largest = 0;
  for (const TensorInfo& info : in.tensors()) {
    largest = std::max(largest, info.numel());
  }
  return largest;
}

}  // namespace

std::string coefficient_text(const FusionInput& in, const at::Tensor& lambdas) {
  const at::Tensor means = lambdas.to(at::kDouble).mean(1).cpu();
  std::vector<std::string> parts;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    parts.push_back(in.expert_names()[i] + "=" + number_text(means[static_cast<int64_t>(i)].item<double>()));
  }
  return join(parts, " ");
}

CoefficientMerge::CoefficientMerge(const FusionInput& in, Granularity granularity, bool clamp,
                                   EditTaskVectors edit)
    : in_(in),
      granularity_(granularity),
      clamp_(clamp),
      edit_(std::move(edit)),
      weights_(with_mean_statistics(in.base(), in.experts())) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  const int64_t bytes = experts * in.num_elements() * static_cast<int64_t>(sizeof(float));
  keeps_rows_ = !in.device().is_cpu() && bytes <= kMostKeptBytes;
  storage_ = keeps_rows_ ? at::Tensor() : at::empty({experts * largest_tensor(in)}, options());
  for (const TensorInfo& info : in.tensors()) {
    if (task_vectors(info.name).ne(0).any().item<bool>()) {
      moving_.push_back(info.name);
    } else {
      kept_rows_.erase(info.name);
    }
  }
}

at::Tensor CoefficientMerge::coefficients(double init) const {
  const auto columns = static_cast<int64_t>(moving_.size());
  return at::full({static_cast<int64_t>(in_.num_experts()),
                   granularity_ == Granularity::kTensor && columns > 0 ? columns : 1},
                  init, options());
}

at::Tensor CoefficientMerge::task_vectors(const std::string& tensor) {
  if (!keeps_rows_) {
    return make_rows(tensor, storage_);
  }
  const auto kept = kept_rows_.find(tensor);
  const auto elements = static_cast<int64_t>(in_.num_experts()) * in_.base().at(tensor).numel();
  return kept != kept_rows_.end() ? kept->second
                                  : kept_rows_[tensor] = make_rows(tensor, at::empty({elements}, options()));
}

at::Tensor CoefficientMerge::make_rows(const std::string& tensor, const at::Tensor& storage) const {
  const auto experts = static_cast<int64_t>(in_.num_experts());
  const at::Tensor base = in_.base().at(tensor).reshape({-1});
  at::Tensor rows = storage.narrow(0, 0, experts * base.numel()).view({experts, base.numel()});
  for (int64_t i = 0; i < experts; ++i) {
    at::Tensor row = rows.select(0, i);
    at::sub_out(row, in_.expert(static_cast<size_t>(i)).at(tensor).reshape({-1}), base);
  }
  if (edit_) {
    edit_(tensor, rows);
  }
  return rows;
}

at::Tensor CoefficientMerge::moved(const at::Tensor& lambdas, size_t tensor) {
  return at::matmul(used(lambdas, tensor), task_vectors(moving_[tensor]))
      .view(in_.base().at(moving_[tensor]).sizes());
}

at::Tensor CoefficientMerge::used(const at::Tensor& lambdas, size_t tensor) const {
  const at::Tensor lambda = lambdas.select(1, column(tensor));
  return clamp_ ? lambda.clamp(0, 1) : lambda;
}

// The leaves of merge(), in the dtype of passes as all other weights from then on, so that no pass has to round them
// and to trace that.
void CoefficientMerge::make_leaves() {
  weights_ = rounded(weights_, in_.network().precision);
  int64_t largest = 0;
  for (const std::string& name : moving_) {
    const at::Tensor& base = in_.base().at(name);
    const at::Tensor tensor = at::empty_like(weights_.at(name), at::MemoryFormat::Contiguous);
    leaves_.push_back({tensor, tensor.view({-1}), base.reshape({-1})});
    leaves_.back().tensor.requires_grad_(true);
    largest = std::max(largest, base.numel());
  }
  sum_ = at::empty({largest}, options());
}

std::vector<at::Tensor> CoefficientMerge::moved(const at::Tensor& lambdas) {
  std::vector<at::Tensor> all;
  for (size_t t = 0; t < moving_.size(); ++t) {
    all.push_back(moved(lambdas, t));
  }
  return all;
}

void CoefficientMerge::merge(const at::Tensor& lambdas) {
  const at::NoGradGuard no_grad;
  if (leaves_.empty()) {
    make_leaves();
  }
  for (size_t t = 0; t < moving_.size(); ++t) {
    Leaf& leaf = leaves_.at(t);
    at::Tensor theta = sum_.narrow(0, 0, leaf.base.numel());
    at::Tensor row = theta.unsqueeze(0);
    at::mm_out(row, used(lambdas, t).unsqueeze(0), task_vectors(moving_[t]));
    at::add_out(theta, leaf.base, theta);
    leaf.flat.copy_(theta);
    leaf.tensor.mutable_grad().reset();
    weights_[moving_[t]] = leaf.tensor;
  }
}

Weights CoefficientMerge::merged(const at::Tensor& lambdas) {
  const at::NoGradGuard no_grad;
  Weights theta = with_mean_statistics(in_.base(), in_.experts());
  for (size_t t = 0; t < moving_.size(); ++t) {
    theta[moving_[t]] = in_.base().at(moving_[t]) + moved(lambdas, t);
  }
  return theta;
}

at::Tensor CoefficientMerge::gradient(const at::Tensor& lambdas) {
  const at::NoGradGuard no_grad;
  at::Tensor gradient = at::zeros_like(lambdas);
  for (size_t t = 0; t < moving_.size(); ++t) {
    const at::Tensor& of_theta = weights_.at(moving_[t]).grad();
    if (of_theta.defined()) {
      const at::Tensor flat = of_theta.reshape({-1}).to(at::kFloat);
      gradient.select(1, column(t)).add_(at::matmul(task_vectors(moving_[t]), flat));
    }
  }
  return clamp_ ? gradient * (lambdas >= 0) * (lambdas <= 1) : gradient;
}

Weights CoefficientMerge::take() {
  for (const std::string& name : moving_) {
    weights_[name] = weights_[name].detach();
  }
  return std::move(weights_);
}

void backward_of_entropy(const FusionInput& in, const Weights& weights, AdaptationStream& stream) {
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(in.network().precision);
  const AdaptationStream::Step next = stream.next([&](const Inputs& ready, Memory* memory) {
    return in.network().output(weights, ready, stream.tasks().front(), {.memory = memory});
  });
  const at::Tensor features = in.network().features(weights, next.inputs);
  entropy_loss(in, stream.tasks(), weights, next.by_task, features).backward();
}

MethodCard adamerging_card(const std::string& name, const std::string& title,
                           const std::string& coefficient) {
  return {.name = name,
          .title = title,
          .paper = "Yang et al., ICLR 2024, arXiv:2310.02575",
          .formula = "theta^l = theta_0^l + sum_i " + coefficient +
                     " tau_i^l,   lambda minimises the entropy of the predictions",
          .family = Family::kTestTime,
          .grain = Grain::kWholeModel,
          .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
          .demands = {Demand::kDistribution},
          .random = true,
          .cost = Cost::kTraining};
}

FusedModel adapt_coefficients(const FusionInput& in, const AdaptationOptions& options,
                              Granularity granularity, const EditTaskVectors& edit) {
  CoefficientMerge merged(in, granularity, options.clamp, edit);
  const int64_t steps =
      merged.moving().empty() ? 0 : options.steps;  // where no expert moved, nothing can be learnt
  const at::Tensor lambdas = merged.coefficients(options.init);
  AdaptationStream stream(in, options.batch, "adamerging");
  Adam adam(lambdas, options.lr);
  for (int64_t step = 0; step < steps; ++step) {
    merged.merge(lambdas);
    backward_of_entropy(in, merged.weights(), stream);
    adam.step(merged.gradient(lambdas));
    in.tick();
  }
  FusedModel fused = one_model(merged.merged(lambdas));
  fused.facts["coefficients"] = coefficient_text(in, lambdas);
  return fused;
}

MethodCard adamerging_plus_card(const std::string& name, const std::string& title,
                                const std::string& coefficient) {
  MethodCard card = adamerging_card(name, title, coefficient);
  card.formula = R"(trim    keep the density largest |tau_i| of each expert
elect   gamma = sign(sum_i tau_i),   tau_i = 0 where its sign is not gamma
)" + card.formula;
  return card;
}

FusedModel adapt_trimmed_coefficients(const FusionInput& in, const TrimmedAdaptationOptions& options,
                                      Granularity granularity) {
  const std::vector<double> densities(in.num_experts(), options.density);
  const TrimmedElection election = trim_and_elect(in, "task_vectors", densities, &Slice::task_vector_views);
  Weights elected;  // bool [experts, elements]: a quarter of the experts' memory
  return adapt_coefficients(in, options, granularity, [&](const std::string& tensor, at::Tensor& rows) {
    const auto [entries, fresh] = elected.try_emplace(tensor);
    if (fresh) {
      entries->second = at::stack(elected_entries(rows.unbind(0), election));
    }
    rows.mul_(entries->second);
  });
}

}  // namespace fusegrid
