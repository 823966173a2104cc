#include "fusion/alignment/unit_maps.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>

#include "core/role.h"

namespace fusegrid {

UnitMap unit_map_of(const Permutation& permutation, at::Device device) {
  const at::Tensor matrix = matrix_of(permutation, device);
  return {matrix, matrix.t()};
}

UnitMaps unit_maps_of(const Alignment& alignment, at::Device device) {
  UnitMaps maps;
  for (const auto& [group, permutation] : alignment) {
    maps.emplace(group, unit_map_of(permutation, device));
  }
  return maps;
}

at::Tensor mapped(const at::Tensor& tensor, const std::vector<AxisOfGroup>& axes, const UnitMaps& maps) {
  at::Tensor result = tensor;
  for (const AxisOfGroup& along : axes) {
    const auto map = maps.find(along.group);
    if (map == maps.end()) {
      continue;
    }
    const at::Tensor by = along.makes ? map->second.makes : map->second.reads.t();  // [new, units]
    const at::Tensor units =
        result.to(by.scalar_type()).unflatten(along.axis, {along.size, -1}).movedim(along.axis, -1);
    result = at::matmul(units, by.t()).movedim(-1, along.axis).flatten(along.axis, along.axis + 1);
  }
  return result;
}

Weights mapped(const Weights& weights, const std::vector<AxisGroup>& groups, const UnitMaps& maps) {
  Weights result = weights;
  for (const auto& [name, axes] : axes_by_tensor(groups)) {
    at::Tensor& tensor = result.at(name);
    tensor = mapped(tensor, axes, maps).to(tensor.scalar_type());
  }
  return result;
}

namespace {

bool makes_mapped(const std::vector<AxisOfGroup>& axes, const UnitMaps& maps) {
  return std::any_of(axes.begin(), axes.end(),
                     [&](const AxisOfGroup& along) { return along.makes && maps.contains(along.group); });
}

std::vector<AxisOfGroup> axes_of(const AxesByTensor& axes, const std::string& tensor) {
  const auto found = axes.find(tensor);
  return found == axes.end() ? std::vector<AxisOfGroup>() : found->second;
}

}  // namespace

Weights merged_by_maps(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups,
                       const std::vector<UnitMaps>& maps) {
  const AxesByTensor by_tensor = axes_by_tensor(groups);
  Weights merged = models.front();
  for (auto& [name, tensor] : merged) {
    if (!tensor.is_floating_point()) {
      continue;
    }
    const std::vector<AxisOfGroup> axes = axes_of(by_tensor, name);
    at::Tensor sum;
    for (size_t i = 0; i < models.size(); ++i) {
      const at::Tensor part = mapped(models[i].at(name).to(at::kDouble), axes, maps[i]);
      sum = sum.defined() ? sum + part : part;
    }
    if (!makes_mapped(axes, maps.front())) {
      sum = sum / static_cast<double>(models.size());
    }
    tensor = sum.to(tensor.scalar_type());
  }
  return merged;
}

std::vector<UnitMap> units_apart(int64_t units, size_t models, at::Device device) {
  const at::Tensor all =
      at::eye(units * static_cast<int64_t>(models), at::TensorOptions(at::kDouble).device(device));
  std::vector<UnitMap> maps;
  for (size_t i = 0; i < models; ++i) {
    const int64_t begin = static_cast<int64_t>(i) * units;
    maps.push_back({all.narrow(1, begin, units), all.narrow(0, begin, units)});
  }
  return maps;
}

bool has_free_widths(const Architecture& architecture) {
  const std::vector<TensorInfo> parameters = architecture.parameters();
  std::map<std::string, TensorInfo> infos;
  for (const TensorInfo& info : parameters) {
    infos.emplace(info.name, info);
  }
  for (const AxisGroup& group : architecture.axis_groups()) {
    for (const AxisGroup::Axis& axis : group.axes) {
      const bool scale = role_of(infos.at(axis.tensor)) == Role::kScale;
      const std::string module = axis.tensor.substr(0, axis.tensor.rfind('.'));
      if (group.unit != 1 || (scale && !infos.contains(module + ".running_var"))) {
        return false;
      }
    }
  }
  return true;
}

double stored_entries(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups,
                      const std::vector<UnitMaps>& maps) {
  const AxesByTensor by_tensor = axes_by_tensor(groups);
  double entries = 0;
  for (const auto& [name, tensor] : models.front()) {
    at::Tensor counts;
    for (const UnitMaps& of_model : maps) {
      const at::Tensor part = mapped(at::ones_like(tensor, at::kDouble), axes_of(by_tensor, name), of_model);
      counts = counts.defined() ? counts + part : part;
    }
    entries += static_cast<double>((counts > 0).sum().item<int64_t>());
  }
  return entries;
}

std::shared_ptr<const Readout> mapped_readout(const Readout& readout, const std::vector<AxisGroup>& groups,
                                              const UnitMaps& maps) {
  for (const AxisGroup& group : groups) {
    const auto map = maps.find(group.name);
    if (!group.features || map == maps.end() || readout.weights().empty()) {
      continue;
    }
    const at::Tensor& reads = map->second.reads;
    return readout.of_mapped_features(at::kron(reads, at::eye(group.unit, reads.options())));
  }
  return nullptr;
}

}  // namespace fusegrid
