#include "fusion/whole_model/surgery.h"

#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>

#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {

std::set<Demand> SurgeryOptions::demands() const {
  return merge == "layer_wise_adamerging" ? std::set<Demand>{Demand::kDistribution} : std::set<Demand>{};
}

MethodCard surgery_card(const std::string& name, const std::string& title, const std::string& paper,
                        const std::string& formula) {
  return {.name = name,
          .title = title,
          .paper = paper,
          .formula = formula,
          .family = Family::kTestTime,
          .grain = Grain::kWholeModel,
          .needs = {Need::kPretrained, Need::kTestInputs, Need::kGradients},
          .yields = Yields::kModelPerTask,
          .needs_task_identity = true,
          .random = true,
          .cost = Cost::kTraining};
}

Weights merge_before_surgery(const FusionInput& in, const SurgeryOptions& options) {
  ParamText parameters;
  if (options.merge == "layer_wise_adamerging") {
    parameters = {{"init", number_text(options.scale)},
                  {"steps", number_text(options.merge_steps)},
                  {"batch", number_text(options.batch)}};
  } else if (options.merge != "simple_average") {
    parameters = {{"scale", number_text(options.scale)}};
  }
  return method_registry().at(options.merge).fuse(in, parameters).predictor->weights();
}

at::Tensor FeatureAdapter::operator()(const at::Tensor& z) const {
  const at::Tensor moved = z.to(at::kFloat);
  return (moved - at::linear(at::relu(at::linear(moved, down)), up)).to(z.scalar_type());
}

FeatureAdapter new_adapter(const FusionInput& in, const std::string& task, int64_t place, int64_t width,
                           int64_t rank) {
  const uint64_t key = derive_key(in.seed(), "surgery/" + task);
  const double bound = 1 / std::sqrt(static_cast<double>(width));
  const at::Tensor numbers = uniform(key, static_cast<uint64_t>(place), 0, rank * width);
  const at::TensorOptions options = at::TensorOptions(in.device()).dtype(at::kFloat);
  return {((numbers * 2 - 1) * bound).view({rank, width}).to(in.device()), at::zeros({width, rank}, options)};
}

std::vector<at::Tensor> tensors_of(const std::vector<FeatureAdapter>& adapters) {
  std::vector<at::Tensor> all;
  for (const FeatureAdapter& adapter : adapters) {
    all.insert(all.end(), {adapter.down, adapter.up});
  }
  return all;
}

at::Tensor counting_features(const at::Tensor& features, const Inputs& inputs) {
  const at::Tensor all = features.to(at::kFloat);
  if (all.dim() == 2) {
    return all;
  }
  if (inputs.images.defined() && !inputs.answer.defined()) {
    return all.flatten(0, 1);  // of a map, or of pairs
  }
  const at::Tensor rows = at::nonzero(inputs.counting(Rows::kAnswer).flatten()).squeeze(1);
  return all.flatten(0, 1).index_select(0, rows);
}

}  // namespace fusegrid
