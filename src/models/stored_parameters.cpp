#include "models/stored_parameters.h"

#include <cstring>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "checkpoint/checks.h"
#include "checkpoint/tied_head.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

std::vector<int64_t> reversed(const std::vector<int64_t>& shape) {
  return {shape.rbegin(), shape.rend()};
}

// A parameter as files hold it.
at::Tensor turned(const Architecture& architecture, const std::string& name, const at::Tensor& tensor) {
  return architecture.transposed_in_files(name) ? tensor.t().contiguous() : tensor;
}

}  // namespace

const TensorInfo& stored_tensor(const ModelSource& model, const std::vector<std::string>& names,
                                const std::vector<int64_t>& shape) {
  const TensorInfo* seen = nullptr;
  for (auto name = names.begin(); seen == nullptr && name != names.end(); ++name) {
    seen = find_tensor(model, *name);
  }
  if (seen == nullptr) {
    throw ConfigError("'" + model.name() + "': tensor " + names.front() +
                      " is missing; a checkpoint must have all parameters of the architecture");
  }
  if (seen->shape != shape || !seen->floating()) {
    throw ConfigError("'" + model.name() + "': tensor " + seen->name + " must be floating-point of shape " +
                      shape_text(shape) + ", but it is " + at::toString(seen->dtype) + " " +
                      shape_text(seen->shape) + "; experts must have the architecture of their base");
  }
  return *seen;
}

StoredParameters::StoredParameters(const Architecture& architecture, const ModelSource& model)
    : model_(model), tensors_(architecture.parameters()) {
  for (TensorInfo& info : tensors_) {
    const bool transposed = architecture.transposed_in_files(info.name);
    const TensorInfo& stored = stored_tensor(model, architecture.names_in_files(info.name),
                                             transposed ? reversed(info.shape) : info.shape);
    info.dtype = stored.dtype;
    places_.emplace(info.name, Place{&stored, transposed});
  }
}

at::Tensor StoredParameters::read(const std::string& name) const {
  const Place& place = places_.at(name);
  at::Tensor values = at::empty(place.stored->shape, place.stored->dtype);
  model_.read_range(place.stored->name, 0, values.numel(), values.mutable_data_ptr());
  return place.transposed ? values.t().contiguous() : values;
}

void StoredParameters::read_range(const std::string& name, int64_t begin, int64_t count,
                                  void* destination) const {
  const auto& [stored, transposed] = places_.at(name);
  if (!transposed || count == 0) {
    model_.read_range(stored->name, begin, count, destination);
    return;
  }
  // The rows of the parameter that the range touches are columns of the file, which are read line by line.
  const int64_t lines = stored->shape[0];
  const int64_t first = begin / lines;
  const int64_t columns = (begin + count - 1) / lines - first + 1;
  at::Tensor part = at::empty({lines, columns}, stored->dtype);
  const auto line_bytes = static_cast<size_t>(columns) * part.element_size();
  auto* to = static_cast<char*>(part.mutable_data_ptr());
  for (int64_t line = 0; line < lines; ++line, to += line_bytes) {
    model_.read_range(stored->name, line * stored->shape[1] + first, columns, to);
  }
  const at::Tensor wanted = part.t().contiguous().view({-1}).narrow(0, begin - first * lines, count);
  std::memcpy(destination, wanted.const_data_ptr(), static_cast<size_t>(count) * wanted.element_size());
}

std::optional<LowRankFactors> StoredParameters::factors(const std::string& name) const {
  const auto& [stored, transposed] = places_.at(name);
  const auto factors = model_.factors(stored->name);
  if (!factors || !transposed) {
    return factors;
  }
  return LowRankFactors{factors->a.t().contiguous(), factors->b.t().contiguous(), factors->scale};
}

Weights as_stored(const Architecture& architecture, const Weights& parameters) {
  Weights stored;
  for (const auto& [name, tensor] : parameters) {
    stored.emplace(name, turned(architecture, name, tensor));
  }
  return stored;
}

Weights in_place_of(const ModelSource& model, const Architecture& architecture, const Weights& parameters) {
  Weights tensors;
  std::set<std::string> taken;  // by parameters and their copies
  for (const auto& [name, tensor] : parameters) {
    const auto names = architecture.names_in_files(name);
    const at::Tensor stored = turned(architecture, name, tensor);
    tensors.emplace(stored_tensor(model, names, stored.sizes().vec()).name, stored);
    taken.insert(names.begin(), names.end());
  }
  const bool tied = is_tied(model.config());
  for (const TensorInfo& info : model.tensors()) {
    if (!taken.contains(info.name) && !(tied && is_tied_head(info.name))) {
      const at::Tensor values = at::empty(info.shape, info.dtype);
      model.read_range(info.name, 0, info.numel(), values.mutable_data_ptr());
      tensors.emplace(info.name, values);
    }
  }
  return tensors;
}

}  // namespace fusegrid
