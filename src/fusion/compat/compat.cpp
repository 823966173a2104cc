#include "fusion/compat/compat.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/model_weights.h"
#include "core/text.h"

namespace fusegrid {

CompatOptions::CompatOptions(const std::string& method, const ParamText& given) : method_(method) {
  for (const ParamInfo& parameter : method_registry().at(method).params()) {
    all_[parameter.name] = parameter.value;
  }
  method_registry().at(method).canonical(given);
  for (const auto& [name, value] : given) {
    all_[name] = value;
  }
}

double CompatOptions::number(const std::string& name) const {
  return parse_double(all_.at(name), name);
}

std::vector<double> CompatOptions::weights(size_t models) const {
  std::vector<double> given;
  const auto it = all_.find("weights");
  const std::string text = it == all_.end() ? "" : it->second;
  ParamReader(method_, {{"weights", text}}).param("weights", given, Range{}, "");
  return model_weights(method_, given, false, static_cast<int64_t>(models));
}

std::string CompatOptions::key() const {
  std::string key = "compat/" + method_;
  for (const auto& [name, value] : all_) {
    key += name == "scale" ? "" : "," + name + "=" + value;
  }
  return key;
}

void CompatOptions::require(const std::string& name, const std::vector<std::string>& accepted) const {
  if (std::find(accepted.begin(), accepted.end(), all_.at(name)) == accepted.end()) {
    throw ConfigError("method '" + method_ + "' computes as mergekit does only with " + name + "=" +
                      join(accepted, "|") + ", but " + name + "=" + all_.at(name) + "; write " + method_ +
                      "{" + name + "=" + accepted.front() + "}, or choose --precision fp32");
  }
}

Registry<CompatMethod>& compat_registry() {
  static Registry<CompatMethod> registry("method with precision=compat");
  return registry;
}

void check_compat(const std::string& method, const ParamText& parameters) {
  if (!compat_registry().contains(method)) {
    throw ConfigError("--precision compat computes as mergekit does, which has no method '" + method +
                      "' (or none whose bytes were compared); choose --precision fp32 or one of: " +
                      join(compat_registry().names(), ", "));
  }
  compat_registry().at(method).check(CompatOptions(method, parameters));
}

FusedModel fuse_compat(const std::string& method, const FusionInput& in, const ParamText& parameters) {
  return compat_registry().at(method).fuse(in, CompatOptions(method, parameters));
}

at::Tensor stored(const Slice& slice, const at::Tensor& values) {
  return values.to(slice.info->dtype);
}

std::vector<at::Tensor> stored(const Slice& slice, const std::vector<at::Tensor>& values) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& tensor : values) {
    all.push_back(stored(slice, tensor));
  }
  return all;
}

std::vector<at::Tensor> stored_task_vectors(const Slice& slice) {
  const at::Tensor base = stored(slice, slice.base());
  std::vector<at::Tensor> vectors;
  for (const at::Tensor& expert : slice.experts()) {
    vectors.push_back(stored(slice, expert) - base);
  }
  return vectors;
}

at::Tensor weight_tensor(const std::vector<double>& weights, const at::Tensor& like) {
  return at::tensor(at::ArrayRef<double>(weights), at::TensorOptions(at::kDouble)).to(like.options());
}

at::Tensor sum_over_models(const std::vector<at::Tensor>& values) {
  // from zero, so that -0 and -0 are +0 as in the original
  at::Tensor sum = at::zeros(values[0].sizes(), values[0].options().dtype(at::kFloat));
  for (const at::Tensor& tensor : values) {
    sum.add_(tensor);
  }
  return sum.to(values[0].scalar_type());
}

std::vector<at::Tensor> agreeing_signs(const std::vector<at::Tensor>& vectors) {
  const at::Tensor elected = (sum_over_models(vectors) >= 0).to(vectors[0].scalar_type()) * 2 - 1;
  std::vector<at::Tensor> agree;
  for (const at::Tensor& vector : vectors) {
    agree.push_back(vector.sign() == elected);
  }
  return agree;
}

at::Tensor masked(const at::Tensor& vector, const at::Tensor& mask, bool keep_l1) {
  constexpr double kSmallest = 1e-7;
  const at::Tensor kept = vector * mask;
  if (!keep_l1) {
    return kept;
  }
  const at::Tensor before = vector.abs().sum();
  const at::Tensor after = kept.abs().sum();
  const bool vanishes = (before < kSmallest).item<bool>() || (after < kSmallest).item<bool>();
  return vanishes ? kept : kept * (before / after);
}

at::Tensor mixed_delta(const std::vector<at::Tensor>& vectors, const CompatMerge& how) {
  const auto options = vectors[0].options();
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> weighted;
  for (size_t i = 0; i < vectors.size(); ++i) {
    weights.push_back(at::scalar_tensor(how.weights[i], options));
    weighted.push_back(vectors[i] * weights[i]);
  }
  if (!how.elect) {
    const at::Tensor mixed = sum_over_models(weighted);
    at::Tensor divisor = weight_tensor(how.weights, vectors[0]).sum();
    return how.normalize ? mixed / divisor.masked_fill_(divisor.abs() < 1e-8, 1) : mixed;
  }
  const auto agree = agreeing_signs(weighted);
  for (size_t i = 0; i < vectors.size(); ++i) {
    weighted[i] = weighted[i] * agree[i];
    weights[i] = weights[i] * agree[i];
  }
  const at::Tensor mixed = sum_over_models(weighted);
  if (!how.normalize) {
    return mixed;
  }
  at::Tensor divisor = sum_over_models(weights);
  return mixed / divisor.masked_fill_(divisor == 0, 1);
}

at::Tensor moved(const Slice& slice, const at::Tensor& delta, double scale) {
  return (stored(slice, slice.base()) + delta * scale).to(at::kFloat);
}

}  // namespace fusegrid
