// Merges by coefficients of task vectors that are learnt on unlabelled inputs: AdaMerging and its relatives.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/adaptation.h"

namespace fusegrid {

struct AdaptationOptions {
  double init = 0.3;
  double lr = 1e-3;
  int64_t steps = 1000;
  int64_t batch = 16;
  bool clamp = false;
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("init", init, Range{-2, 2}, "initial coefficient of every task vector");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 4096}, "unlabelled inputs per task and step");
    v.param("clamp", clamp, "keep the coefficients in [0, 1]; outside there is no gradient");
    describe_inputs(v, inputs);
  }
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

enum class Granularity { kTask, kTensor };  // one coefficient per task, or per task and tensor

// What stands in for the task vectors of a tensor, in place. rows: float [experts, elements].
using EditTaskVectors = std::function<void(const std::string& tensor, at::Tensor& rows)>;

// The merged weights as a function of the coefficients, theta = theta_0 + sum_i lambda_i tau_i, of the tensors that
// some task vector changes. The others have no coefficient that matters.
class CoefficientMerge {
 public:
  // edit: nothing, or what makes the task vectors anew; called again in each step.
  CoefficientMerge(const FusionInput& in, Granularity granularity, bool clamp, EditTaskVectors edit = {});

  const std::vector<std::string>& moving() const { return moving_; }
  // [experts, columns], all `init`.
  at::Tensor coefficients(double init) const;
  // The task vectors of a moving tensor, float [experts, elements]; valid until the next call.
  at::Tensor task_vectors(const std::string& tensor);
  // sum_i lambda_i tau_i of each moving tensor, in its shape. lambdas: [experts, columns].
  std::vector<at::Tensor> moved(const at::Tensor& lambdas);
  // theta in weights(), in the dtype of passes, as leaves that have collected no gradients yet.
  void merge(const at::Tensor& lambdas);
  // theta in float32.
  Weights merged(const at::Tensor& lambdas);
  // dL/dlambda from dL/dtheta: inner products with the task vectors; zero where the clamp is active.
  at::Tensor gradient(const at::Tensor& lambdas);

  // What merge() made of the moving tensors, or who uses this has set.
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }
  // The weights, without what gradients need.
  Weights take();

 private:
  int64_t column(size_t tensor) const {
    return granularity_ == Granularity::kTask ? 0 : static_cast<int64_t>(tensor);
  }
  at::TensorOptions options() const { return at::TensorOptions(in_.device()).dtype(at::kFloat); }
  at::Tensor moved(const at::Tensor& lambdas, size_t tensor);
  at::Tensor used(const at::Tensor& lambdas, size_t tensor) const;
  void make_leaves();
  at::Tensor make_rows(const std::string& tensor, const at::Tensor& storage) const;

  const FusionInput& in_;
  Granularity granularity_;
  bool clamp_;
  EditTaskVectors edit_;
  bool keeps_rows_ = false;
  at::Tensor storage_;  // of the rows of the largest tensor
  Weights kept_rows_;
  std::vector<std::string> moving_;
  struct Leaf {
    at::Tensor tensor, flat;  // one memory
    at::Tensor base;          // flat
  };
  std::vector<Leaf> leaves_;  // of moving()
  at::Tensor sum_;            // theta of one tensor in float32, before it is rounded
  Weights weights_;
};

// "mnist=0.3 fashion=0.25": the mean over columns of each expert's coefficients, for the record.
std::string coefficient_text(const FusionInput& in, const at::Tensor& lambdas);

// The sum over the stream's tasks of the mean entropy of what `weights` answer to its next batch, with gradients of the
// leaves.
void backward_of_entropy(const FusionInput& in, const Weights& weights, AdaptationStream& stream);

// AdaMerging: theta^l = theta_0^l + sum_i lambda_i^l tau_i^l with the lambda that minimise the entropy on the inputs to
// adapt on. edit: see CoefficientMerge.
//
// Source:  Yang et al., "AdaMerging: Adaptive Model Merging for Multi-Task Learning", ICLR 2024,
//          arXiv:2310.02575.
// Differs: one batch per task and step and no clamping by default, as FusionBench; the gradient of a coefficient
//          is the inner product of the merged weights' gradient with its task vector, from one backward pass of
//          all tasks. The entropy is computed from log-softmax, without the 1e-8 inside FusionBench's logarithm.
// Cost:    `steps` forward and backward passes of batch images per task.
FusedModel adapt_coefficients(const FusionInput& in, const AdaptationOptions& options,
                              Granularity granularity, const EditTaskVectors& edit = {});
// The card of the method that adapts with this granularity. `coefficient`: as the formula writes it.
MethodCard adamerging_card(const std::string& name, const std::string& title, const std::string& coefficient);

// AdaMerging++: the same of task vectors that are trimmed and whose entries that lose the election of their sign are
// zero, as in TIES.
struct TrimmedAdaptationOptions : AdaptationOptions {
  double density = 0.2;

  template <typename Visitor>
  void describe(Visitor& v) {
    AdaptationOptions::describe(v);
    v.param("density", density, Range{0.001, 1}, "fraction of the entries of a task vector that are kept");
  }
};
FusedModel adapt_trimmed_coefficients(const FusionInput& in, const TrimmedAdaptationOptions& options,
                                      Granularity granularity);
MethodCard adamerging_plus_card(const std::string& name, const std::string& title,
                                const std::string& coefficient);

}  // namespace fusegrid
