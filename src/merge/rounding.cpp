#include "merge/rounding.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "checkpoint/buffers.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

// The part of a method's call that a tensor is in; null where it has no parts.
const MergePart* part_of(const MergeMethod& call, const std::string& tensor) {
  const auto it = std::find_if(call.parts.begin(), call.parts.end(),
                               [&](const MergePart& part) { return part.tensors.contains(tensor); });
  FUSEGRID_ASSERT(call.parts.empty() || it != call.parts.end(), "no part has " + tensor);
  return it == call.parts.end() ? nullptr : &*it;
}

// What the models of a tensor promote to. mergekit, too, makes them one dtype first, and so rounds after every
// operation to that.
at::ScalarType promoted(const MergePlan& plan, const std::string& tensor) {
  std::optional<at::ScalarType> dtype;
  const auto add = [&](const ModelSource& model) {
    const at::ScalarType own = find_tensor(model, tensor)->dtype;
    dtype = dtype ? c10::promoteTypes(*dtype, own) : own;
  };
  if (plan.models.base != nullptr) {
    add(*plan.models.base);
  }
  std::set<size_t> experts;
  for (const MergeMethod& call : plan.spec.methods) {
    const MergePart* const part = part_of(call, tensor);
    for (size_t i = 0; i < plan.inputs.experts.size(); ++i) {
      if (part == nullptr || part->experts.empty() ||
          std::find(part->experts.begin(), part->experts.end(), i) != part->experts.end()) {
        add(*plan.inputs.experts[i]);
      }
    }
  }
  return *dtype;
}

void check_computed(at::ScalarType dtype, const std::string& whose) {
  static const std::set<at::ScalarType> computed{at::kBFloat16, at::kHalf, at::kFloat};
  if (!computed.contains(dtype)) {
    throw ConfigError("--precision compat computes in bfloat16, float16 or float32, but " + whose + " " +
                      dtype_name(dtype) + "; choose --precision fp32");
  }
}

}  // namespace

void set_rounding(MergePlan& plan) {
  if (plan.spec.model_dtype) {
    check_computed(*plan.spec.model_dtype, "--dtype is");
  }
  for (const ModelSource* source : plan.models.sources()) {
    for (const TensorInfo& info : source->tensors()) {
      if (is_merged(info)) {  // what is read goes through float32
        check_computed(info.dtype, "'" + info.name + "' of '" + source->name() + "' is");
      }
    }
  }
  for (TensorInfo& info : plan.models.tensors) {
    const at::ScalarType dtype = plan.spec.model_dtype.value_or(promoted(plan, info.name));
    plan.models.rounded_to.push_back(dtype);
    info.dtype = plan.spec.dtype.value_or(dtype);
  }
}

std::vector<TensorInfo> tensors_of_result(const MergePlan& plan) {
  std::map<std::string, at::ScalarType> dtypes;
  for (const TensorInfo& info : plan.models.tensors) {
    dtypes.emplace(info.name, info.dtype);
  }
  std::vector<TensorInfo> tensors = plan.inputs.reference().tensors();
  for (TensorInfo& info : tensors) {
    info.dtype = is_merged(info) ? dtypes.at(info.name) : info.dtype;
  }
  return tensors;
}

}  // namespace fusegrid
