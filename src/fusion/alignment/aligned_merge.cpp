#include "fusion/alignment/aligned_merge.h"

#include <ATen/TensorOperators.h>

#include "core/text.h"

namespace fusegrid {

void check_position(const std::string& method, double t, int64_t experts) {
  if (experts != 2 && t != 0.5) {
    throw ConfigError("parameter t of method '" + method + "' is a position between two models, but " +
                      std::to_string(experts) + " are merged at t = " + number_text(t) +
                      "; leave t at 0.5, their mean, or merge two");
  }
}

std::vector<double> shares_at(double t, size_t experts) {
  if (experts == 2) {
    return {1 - t, t};
  }
  return std::vector<double>(experts, 1 / static_cast<double>(experts));
}

Weights weighted_mean(const std::vector<Weights>& models, const std::vector<double>& shares) {
  Weights mean = models.front();
  for (auto& [name, tensor] : mean) {
    if (!tensor.is_floating_point()) {
      continue;
    }
    at::Tensor sum = tensor.to(at::kDouble) * shares[0];
    for (size_t i = 1; i < models.size(); ++i) {
      sum.add_(models[i].at(name).to(at::kDouble), shares[i]);
    }
    tensor = sum.to(tensor.scalar_type());
  }
  return mean;
}

std::map<std::string, std::shared_ptr<const Readout>> mapped_readouts(const FusionInput& in,
                                                                      const std::vector<UnitMaps>& maps) {
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  std::map<std::string, std::shared_ptr<const Readout>> readouts;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    for (const std::string& task : in.tasks_of(i)) {
      const auto own = mapped_readout(in.network().readout(task), groups, maps[i]);
      if (own && !readouts.emplace(task, own).second) {
        throw ConfigError(
            "the experts were all made for task '" + task +
            "', whose one head outside of the models cannot follow the features of several; leave methods "
            "of alignment out, or train models that hold their heads");
      }
    }
  }
  return readouts;
}

namespace {

FusedModel mean_at(const FusionInput& in, const std::vector<Weights>& aligned,
                   const std::vector<UnitMaps>& maps, double t) {
  FusedModel model = one_model(weighted_mean(aligned, shares_at(t, aligned.size())));
  model.readouts = mapped_readouts(in, maps);
  return model;
}

}  // namespace

FusedModel merge_aligned(const FusionInput& in, const std::vector<Alignment>& alignments, double t) {
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  std::vector<Weights> aligned;
  std::vector<UnitMaps> maps;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    aligned.push_back(permuted(in.expert(i), groups, alignments[i]));
    maps.push_back(unit_maps_of(alignments[i], in.device()));
  }
  FusedModel model = mean_at(in, aligned, maps, t);
  const std::vector<double> shares = shares_at(t, aligned.size());
  for (size_t i = 0; i < aligned.size(); ++i) {
    model.mean_of.emplace_back(shares[i], std::move(aligned[i]));
  }
  model.facts["moved_units"] = number_text(moved_units({alignments.begin() + 1, alignments.end()}));
  return model;
}

FusedModel merge_mapped(const FusionInput& in, const std::vector<UnitMaps>& maps, double t) {
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  std::vector<Weights> aligned;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    aligned.push_back(mapped(in.expert(i), groups, maps[i]));
  }
  return mean_at(in, aligned, maps, t);
}

std::vector<Alignment> onto_the_first(const FusionInput& in,
                                      const std::function<Alignment(size_t expert)>& of) {
  std::vector<Alignment> alignments{unmoved(in.network().architecture->axis_groups())};
  for (size_t i = 1; i < in.num_experts(); ++i) {
    alignments.push_back(of(i));
  }
  return alignments;
}

}  // namespace fusegrid
