// What Representation Surgery and its successor share: small adapters, one set for each task, that move the features of
// a merged model to those of the task's expert.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/adaptation.h"

namespace fusegrid {

struct SurgeryOptions {
  std::string merge = "task_arithmetic";
  double scale = 0.3;
  int64_t merge_steps = 1000;
  int64_t rank = 16;
  double lr = 1e-3;
  int64_t steps = 1000;
  int64_t batch = 16;
  std::string inputs = "test";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("merge", merge, Choices{"simple_average", "task_arithmetic", "ties", "layer_wise_adamerging"},
            "the method that makes the merged model");
    v.param("scale", scale, Range{-2, 3},
            "its scale; of layer_wise_adamerging the initial coefficient; simple_average has none");
    v.param("merge_steps", merge_steps, Range{0, 1e6}, "steps of layer_wise_adamerging");
    v.param("rank", rank, Range{1, 4096}, "rows of an adapter's inner layer");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam for each task");
    v.param("batch", batch, Range{1, 4096}, "unlabelled inputs per task and step");
    describe_inputs(v, inputs);
  }
  std::set<Demand> demands() const;
  std::set<Need> needs(std::set<Need> of_card) const { return needs_of_inputs(inputs, std::move(of_card)); }
};

// The card of a method of surgery: what both have in common.
MethodCard surgery_card(const std::string& name, const std::string& title, const std::string& paper,
                        const std::string& formula);

// The merged model that `options.merge` makes.
Weights merge_before_surgery(const FusionInput& in, const SurgeryOptions& options);

// z - up relu(down z) on the last axis, in float32; the result has the dtype of z.
struct FeatureAdapter {
  at::Tensor down;  // float [rank, width]
  at::Tensor up;    // float [width, rank]

  at::Tensor operator()(const at::Tensor& z) const;
};

// As a linear layer of PyTorch begins (uniform in +-1 / sqrt(width)), and such that it changes nothing: up is 0. The
// numbers belong to (seed, task, place).
FeatureAdapter new_adapter(const FusionInput& in, const std::string& task, int64_t place, int64_t width,
                           int64_t rank);

std::vector<at::Tensor> tensors_of(const std::vector<FeatureAdapter>& adapters);

// The rows of features that a task's readout looks at: one an input, all positions of a map, or those of the answer
// that count. features: [n, width] or [n, positions or tokens, width] -> [rows, width], float32.
at::Tensor counting_features(const at::Tensor& features, const Inputs& inputs);

}  // namespace fusegrid
