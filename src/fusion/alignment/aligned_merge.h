// Merges of models whose units were matched: what all methods of this family that permute share.
#pragma once

#include <string>
#include <vector>

#include "fusion/alignment/unit_maps.h"
#include "fusion/fusion_input.h"

namespace fusegrid {

// The parameter `t` of a merge of two models; of N models it stays at 0.5, which is then their mean.
template <typename Visitor>
void describe_position(Visitor& v, double& t) {
  v.param(
      "t", t, Range{0, 1},
      "position between two models: 0 is the first, 1 the second, aligned; of more models the mean, t = 0.5");
}
// ConfigError where t says nothing about so many models.
void check_position(const std::string& method, double t, int64_t experts);
// What each expert counts for: 1 - t and t, or the same for all.
std::vector<double> shares_at(double t, size_t experts);

// sum_i shares_i models_i in float64, then rounded; what is no floating-point tensor is the first model's.
Weights weighted_mean(const std::vector<Weights>& models, const std::vector<double>& shares);

// The readouts of the experts' tasks as they read merged units. maps: of each expert.
std::map<std::string, std::shared_ptr<const Readout>> mapped_readouts(const FusionInput& in,
                                                                      const std::vector<UnitMaps>& maps);

// One model: the experts, each permuted by its alignment, at the position t; the tasks of an expert are read as its
// units are permuted. alignments: of each expert, with all groups. Facts: which part of the units moved.
FusedModel merge_aligned(const FusionInput& in, const std::vector<Alignment>& alignments, double t);

// The same of experts whose units are mapped, each onto as many; of all groups.
FusedModel merge_mapped(const FusionInput& in, const std::vector<UnitMaps>& maps, double t);

// Alignments of all experts onto the first, which stays. `of`: of an expert (not the first) onto it.
std::vector<Alignment> onto_the_first(const FusionInput& in,
                                      const std::function<Alignment(size_t expert)>& of);

}  // namespace fusegrid
