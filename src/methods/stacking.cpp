// Stacking: a weighted product of the experts' probabilities, whose weights are learnt on labelled validation examples.
//
// Source:  Wolpert, "Stacked Generalization", Neural Networks 1992; Breiman, "Stacked Regressions", Machine Learning
//          1996.
// Differs: one weight an expert, the same for all tasks and classes, of log-probabilities; the loss is convex in them.
//          Their sum is 1, so that equal experts answer as each of them. How far they may go from equal weights is
//          chosen by cross-fitting: each fold is scored by the weights of the others.
// Cost:    one forward pass of the validation examples through each expert; every inference runs N models.

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "models/feeder.h"

namespace fusegrid::methods::stacking {
namespace {

constexpr int64_t kPassBatch = 64;  // examples of one pass
constexpr int64_t kNewtonSteps = 100;
constexpr double kSmallGradient = 1e-9;
constexpr double kShortestStep = 1e-3;  // of Newton's

struct Options {
  std::vector<double> ridge{0.001, 0.01, 0.1, 1, 10};
  int64_t folds = 5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("ridge", ridge, Range{1e-9, 1e9},
            "penalties of the squared distance to equal weights to choose among");
    v.param("folds", folds, Range{2, 100},
            "parts of each task's examples that cross-fitting leaves out in turn");
  }
  void check(int64_t /*experts*/) const {
    if (ridge.empty()) {
      throw ConfigError(
          "method 'stacking' needs a number or more in 'ridge'; leave the parameter out for its default");
    }
  }
};

// What the experts say of a task's examples.
struct Level {
  at::Tensor log_p;   // float64 [n, experts, classes]
  at::Tensor labels;  // int64 [n]

  Level of(const at::Tensor& rows) const {
    return {log_p.index_select(0, rows), labels.index_select(0, rows)};
  }
};

at::Tensor log_probabilities(const FusionInput& in, const Weights& expert, const std::string& task,
                             const Inputs& inputs) {
  const PrecisionScope scope(in.network().precision);
  const Weights held = rounded(expert, in.network().precision);
  std::vector<at::Tensor> parts;
  std::vector<at::Tensor> places;
  feed(in.network(), inputs, kPassBatch, [&](const Inputs& ready, const at::Tensor& rows) {
    const at::Tensor output = in.network().output(held, ready, task);
    parts.push_back(in.kind(task).log_probabilities(output, ready).to(at::kDouble).cpu());
    places.push_back(rows);
    in.tick();
  });
  return concatenate(parts).index_select(0, concatenate(places).argsort());
}

std::vector<Level> levels(const FusionInput& in) {
  std::vector<Level> all;
  for (const std::string& task : in.tasks()) {
    const Examples examples = in.validation_examples(task);
    std::vector<at::Tensor> of_experts;
    for (size_t i = 0; i < in.num_experts(); ++i) {
      of_experts.push_back(log_probabilities(in, in.expert(i), task, examples.inputs));
    }
    all.push_back({at::stack(of_experts, 1), examples.labels.cpu()});
  }
  return all;
}

// Mean over tasks of the mean loss of the weights' product, with its derivatives.
struct Loss {
  double value = 0;
  at::Tensor gradient;   // [experts]
  at::Tensor curvature;  // [experts, experts]
};

Loss loss_of(const std::vector<Level>& tasks, const at::Tensor& weights) {
  const int64_t experts = weights.size(0);
  Loss loss{0, at::zeros({experts}, at::kDouble), at::zeros({experts, experts}, at::kDouble)};
  for (const Level& level : tasks) {
    const double share = 1.0 / static_cast<double>(tasks.size() * static_cast<size_t>(level.labels.size(0)));
    const at::Tensor scores = (level.log_p * weights.view({1, -1, 1})).sum(1);  // [n, classes]
    const at::Tensor q = at::softmax(scores, 1).unsqueeze(1);
    const at::Tensor rows = level.labels.view({-1, 1, 1});
    const at::Tensor right = level.log_p.gather(2, rows.expand({-1, experts, 1})).squeeze(2);  // [n, experts]
    loss.value += (at::logsumexp(scores, {1}) - at::matmul(right, weights)).sum().item<double>() * share;
    const at::Tensor mean = (level.log_p * q).sum(2);
    loss.gradient += (mean - right).sum(0) * share;
    const at::Tensor apart = level.log_p - mean.unsqueeze(2);
    loss.curvature += at::matmul(apart * q, apart.transpose(1, 2)).sum(0) * share;
  }
  return loss;
}

// The weights with sum 1 and the least loss + ridge / 2 * |weights - 1/N|^2, by Newton's method with halved steps.
at::Tensor fitted(const std::vector<Level>& tasks, int64_t experts, double ridge) {
  const at::Tensor equal = at::full({experts}, 1.0 / static_cast<double>(experts), at::kDouble);
  const at::Tensor outer = at::full({experts, experts}, 1.0 / static_cast<double>(experts), at::kDouble);
  const at::Tensor along =
      at::eye(experts, at::kDouble) - outer;  // onto the changes that leave the sum as it is
  const auto penalised = [&](const at::Tensor& weights) {
    Loss loss = loss_of(tasks, weights);
    loss.value += ridge / 2 * (weights - equal).square().sum().item<double>();
    loss.gradient = at::matmul(along, loss.gradient + (weights - equal) * ridge);
    loss.curvature = at::matmul(at::matmul(along, loss.curvature), along) + along * ridge + outer;
    return loss;
  };
  at::Tensor weights = equal;
  Loss loss = penalised(weights);
  bool moves = true;  // else the rest is rounding
  for (int64_t step = 0; moves && step < kNewtonSteps && loss.gradient.norm().item<double>() > kSmallGradient;
       ++step) {
    const at::Tensor direction = at::linalg_solve(loss.curvature, loss.gradient);
    moves = false;
    for (double length = 1; !moves && length > kShortestStep; length /= 2) {
      const Loss next = penalised(weights - direction * length);
      if (next.value < loss.value) {
        weights = weights - direction * length;
        loss = next;
        moves = true;
      }
    }
  }
  return weights;
}

// The examples of each task whose number leaves `fold` when divided by the number of folds, or the others.
std::vector<Level> part_of(const std::vector<Level>& tasks, int64_t fold, int64_t folds, bool inside) {
  std::vector<Level> parts;
  for (const Level& level : tasks) {
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < level.labels.size(0); ++row) {
      if ((row % folds == fold) == inside) {
        rows.push_back(row);
      }
    }
    if (!rows.empty()) {
      parts.push_back(level.of(at::tensor(rows, at::kLong)));
    }
  }
  return parts;
}

double cross_fitted_loss(const std::vector<Level>& tasks, int64_t experts, double ridge, int64_t folds) {
  double sum = 0;
  for (int64_t fold = 0; fold < folds; ++fold) {
    const auto inside = part_of(tasks, fold, folds, true);
    const auto outside = part_of(tasks, fold, folds, false);
    if (!inside.empty() && !outside.empty()) {
      sum += loss_of(inside, fitted(outside, experts, ridge)).value;
    }
  }
  return sum;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto experts = static_cast<int64_t>(in.num_experts());
  const std::vector<Level> tasks = levels(in);
  double best = options.ridge.front();
  double least = INFINITY;
  for (const double ridge : options.ridge) {
    const double loss =
        options.ridge.size() == 1 ? 0 : cross_fitted_loss(tasks, experts, ridge, options.folds);
    if (loss < least) {
      least = loss;
      best = ridge;
    }
  }
  const at::Tensor weights = fitted(tasks, experts, best);
  FusedModel fused = ensemble(in.experts(), EnsembleLevel::kLogits,
                              [of_experts = weights.to(at::kFloat)](const std::vector<at::Tensor>& logits,
                                                                    const std::string& /*head*/) {
                                at::Tensor sum;
                                for (size_t i = 0; i < logits.size(); ++i) {
                                  const double weight = of_experts[static_cast<int64_t>(i)].item<double>();
                                  const at::Tensor log_p = at::log_softmax(logits[i], -1) * weight;
                                  sum = sum.defined() ? sum + log_p : log_p;
                                }
                                return sum;
                              });
  std::vector<std::string> texts;
  for (int64_t i = 0; i < experts; ++i) {
    texts.push_back(in.expert_names()[static_cast<size_t>(i)] + "=" + number_text(weights[i].item<double>()));
  }
  fused.facts["weights"] = join(texts, " ");
  fused.facts["ridge"] = number_text(best);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "stacking",
     .title = "Stacking",
     .paper = "Wolpert, Neural Networks 1992; Breiman, Machine Learning 1996",
     .formula = R"(p(x) ~ prod_i p_i(x)^w_i,   sum_i w_i = 1
w    = argmin mean loss of validation examples + ridge / 2 |w - 1/N|^2,   ridge the one with the least cross-fitted loss)",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .needs = {Need::kValidationExamples},
     .demands = {Demand::kClasses, Demand::kDistribution, Demand::kHeads},
     .yields = Yields::kEnsemble,
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::stacking
