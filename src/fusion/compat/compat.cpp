#include "fusion/compat/compat.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
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

std::vector<double> CompatOptions::list(const std::string& name) const {
  std::vector<double> given;
  const auto it = all_.find(name);
  const std::string text = it == all_.end() ? "" : it->second;
  ParamReader("method '" + method_ + "'", {{name, text}}).param(name, given, Range{}, "");
  return given;
}

std::vector<double> CompatOptions::numbers(const std::string& name, size_t models) const {
  return number_of_each_model(method_, name, list(name), static_cast<int64_t>(models));
}

std::vector<double> CompatOptions::weights(size_t models) const {
  return model_weights(method_, list("weights"), false, static_cast<int64_t>(models));
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
  return values.to(slice.rounded_to);
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

at::Tensor weight_column(const std::vector<double>& weights, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()) + 1, 1);
  shape[0] = static_cast<int64_t>(weights.size());
  return weight_tensor(weights, like).view(shape);
}

// PyTorch adds up 32 neighbouring entries in the order of the models, and what is left over at a tensor's end in
// another order: every fourth model first. So blocks must begin at multiples of 32, which they do, and one that is too
// short for vectors of 16 entries must still be seen as the end of something longer.
at::Tensor sum_over_models(const Slice& slice, const at::Tensor& values) {
  constexpr int64_t kVector = 16;
  static_assert(kSliceElements % 32 == 0 && kDeviceSliceElements % 32 == 0);
  if (slice.begin == 0 || slice.count >= kVector) {
    return values.sum(0);
  }
  const at::Tensor before = at::zeros({values.size(0), kVector}, values.options());
  return concatenate({before, values}, 1).sum(0).narrow(0, kVector, slice.count);
}

at::Tensor agreeing_signs(const Slice& slice, const at::Tensor& values) {
  const at::Tensor elected = (sum_over_models(slice, values) >= 0).to(values.scalar_type()) * 2 - 1;
  return values.sign() == elected;
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

at::Tensor mixed_delta(const Slice& slice, std::vector<at::Tensor> vectors, const CompatMerge& how) {
  const at::Tensor weights = weight_column(how.weights, vectors[0]);
  at::Tensor deltas = at::stack(vectors).mul_(weights);
  vectors.clear();
  if (!how.elect) {
    const at::Tensor mixed = sum_over_models(slice, deltas);
    at::Tensor divisor = weights.sum(0);
    return how.normalize ? mixed / divisor.masked_fill_(divisor.abs() < 1e-8, 1) : mixed;
  }
  const at::Tensor agree = agreeing_signs(slice, deltas);
  const at::Tensor mixed = sum_over_models(slice, deltas.mul_(agree));
  if (!how.normalize) {
    return mixed;
  }
  at::Tensor divisor = sum_over_models(slice, weights * agree);
  return mixed / divisor.masked_fill_(divisor == 0, 1);
}

at::Tensor moved(const Slice& slice, const at::Tensor& delta, double scale) {
  return (stored(slice, slice.base()) + delta * scale).to(at::kFloat);
}

}  // namespace fusegrid
