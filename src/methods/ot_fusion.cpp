// OT fusion: group after group from the input on, transport the units of a model onto the first model's at the least
// cost, then average. An exact transport between as many units is a permutation; an entropic one mixes units. The
// merged model has the units of the first, and the others may have more or fewer.
//
//   T = argmin <C, T> (- reg H(T)),   C_kl = |w_1k - w_il|,   theta = 1/N sum_i (n T_i)(theta_i)
//
// Source:  Singh and Jaggi, "Model Fusion via Optimal Transport", NeurIPS 2020, arXiv:1910.05653; for residual streams
//          and attention as in Imfeld et al., "Transformer Fusion with Optimal Transport", ICLR 2024, arXiv:2310.05719.
// Differs: every axis group has one transport. In weight mode a residual stream is matched by those of its layers that
//          read what is matched already, biases and norms included; the papers average transports of its branches. The
//          cost of entropic transports is in units of its largest entry, and the iteration ends where all marginals are
//          met to 1e-9; what is left after 10,000 steps is recorded. Models have the same shapes, since a zoo's have;
//          one that is narrower leaves units zero, which have no mass. Between other numbers of units what reads a unit
//          is divided among those that get mass of it, which keeps the function of a network whose units were split;
//          the paper divides by the masses of the new units, which is the same between as many units alone.
// Grain:   whole model: a group's cost depends on the transports before it.
// Cost:    per group and model the distances of all units and one assignment, or up to 10,000 iterations of Sinkhorn.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cdist.h>

#include "core/concatenate.h"
#include "core/role.h"
#include "core/text.h"
#include "fusion/alignment/activations.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/transport.h"

namespace fusegrid::methods::ot_fusion {
namespace {

constexpr int64_t kIterations = 10000;
constexpr double kMarginals = 1e-9;

struct Options {
  std::string cost = "weights";
  double regularisation = 0;
  int64_t examples = 200;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("cost", cost, Choices{"weights", "activations"}, "what is to be alike in units that are matched");
    v.param("regularisation", regularisation, Range{0, 10},
            "factor of the entropy, in units of the largest cost; 0: exact transports");
    describe_matching_examples(v, examples);
    describe_position(v, t);
  }
  void check(int64_t experts) const {
    check_position("ot_fusion", t, experts);
    if (regularisation > 0 && regularisation < 1e-3) {
      throw ConfigError(
          "parameter regularisation of method 'ot_fusion' must be 0, or 0.001 at least, so that Sinkhorn's "
          "iteration "
          "ends; use 0 for exact transports");
    }
  }
  std::set<Need> needs(std::set<Need> of_card) const {
    if (cost == "activations") {
      of_card.insert(Need::kTrainInputs);
    }
    return of_card;
  }
};

// The groups of a network in an order in which the weights that make one read only groups before it, as far as that can
// be; with each the tensors that its cost is made of.
struct Step {
  AxisGroup group;
  std::vector<AxisGroup::Axis> makers;
};
std::vector<Step> steps_of(const Architecture& architecture) {
  const std::vector<AxisGroup> groups = architecture.axis_groups();
  const AxesByTensor axes = axes_by_tensor(groups);
  std::map<std::string, TensorInfo> infos;
  for (const TensorInfo& info : architecture.parameters()) {
    infos.emplace(info.name, info);
  }
  std::set<std::string> known;
  const auto is_ready = [&](const AxisGroup::Axis& maker) {
    const auto& of_tensor = axes.at(maker.tensor);
    return std::all_of(of_tensor.begin(), of_tensor.end(), [&](const AxisOfGroup& along) {
      return along.axis == maker.axis || known.contains(along.group);
    });
  };
  const auto step_of = [&](const AxisGroup& group) {
    Step step{group, {}};
    bool all_ready = true;
    bool has_matrix = false;
    for (const AxisGroup::Axis& axis : group.axes) {
      const TensorInfo& info = infos.at(axis.tensor);
      if (!axis.makes || is_running_statistic(info)) {
        continue;
      }
      if (is_ready(axis)) {
        step.makers.push_back(axis);
        has_matrix = has_matrix || info.shape.size() > 1;
      } else {
        all_ready = false;
      }
    }
    return std::make_tuple(step, all_ready, has_matrix);
  };
  std::vector<Step> steps;
  while (steps.size() < groups.size()) {
    std::optional<Step> next;  // the first whose makers are all ready, or the first with a matrix that is
    for (const AxisGroup& group : groups) {
      if (known.contains(group.name)) {
        continue;
      }
      const auto [step, all_ready, has_matrix] = step_of(group);
      if (all_ready) {
        next = step;
        break;
      }
      if (has_matrix && !next) {
        next = step;
      }
    }
    FUSEGRID_ASSERT(next.has_value(), "groups of axes that none of their weights reaches from the input");
    known.insert(next->group.name);
    steps.push_back(*next);
  }
  return steps;
}

// The incoming weights of each unit: float64 [units, numbers].
at::Tensor incoming(const Weights& weights, const Step& step, const AxesByTensor& axes,
                    const UnitMaps& maps) {
  std::vector<at::Tensor> rows;
  for (const AxisGroup::Axis& maker : step.makers) {
    const at::Tensor reading = mapped(weights.at(maker.tensor).to(at::kDouble), axes.at(maker.tensor), maps);
    rows.push_back(reading.movedim(maker.axis, 0).reshape({step.group.size, -1}));
  }
  return concatenate(rows, 1);
}

class Transports {
 public:
  Transports(const FusionInput& in, const Options& options)
      : in_(in), options_(options), steps_(steps_of(*in.network().architecture)) {
    if (options.cost == "activations") {
      activations_ = unit_activations(in, options.examples);
    }
  }

  UnitMaps of(size_t expert) {
    UnitMaps maps;
    for (const Step& step : steps_) {
      const at::Tensor to = units(0, step.group), from = units(expert, step.group);
      const at::Tensor between_all = cost(step, expert, maps);
      const at::Tensor between_live =
          between_all.index_select(0, to.nonzero().squeeze(1)).index_select(1, from.nonzero().squeeze(1));
      const at::Tensor plan = transport(between_live);
      marginal_error_ = std::max(marginal_error_, (plan.sum(1) - 1).abs().max().item<double>());
      maps[step.group.name] = map_of_transport(plan, to, from);
      in_.tick();
    }
    return maps;
  }

  // How far the masses that units get are from what they should be at most, in units of that: 0 of exact transports
  // but for rounding, and of entropic ones what the iteration left.
  double marginal_error() const { return marginal_error_; }

 private:
  at::Tensor units(size_t expert, const AxisGroup& group) const {
    at::Tensor live = live_units(in_.expert(expert), group);
    if (!live.any().item<bool>()) {
      throw DataError("method 'ot_fusion' cannot transport the units of '" + group.name +
                      "': those of expert '" + in_.expert_names().at(expert) +
                      "' are all zero; leave that expert out");
    }
    return live;
  }

  at::Tensor transport(const at::Tensor& cost) const {
    return options_.regularisation == 0
               ? exact_transport(cost)
               : entropic_transport(cost, options_.regularisation, kIterations, kMarginals);
  }

  at::Tensor cost(const Step& step, size_t expert, const UnitMaps& so_far) const {
    if (options_.cost == "activations") {
      return block_of(activations_.at(step.group.name).distances, in_.num_experts(), 0, expert).sqrt();
    }
    return at::cdist(incoming(in_.expert(0), step, axes_, {}),
                     incoming(in_.expert(expert), step, axes_, so_far));
  }

  const FusionInput& in_;
  const Options& options_;
  std::vector<Step> steps_;
  AxesByTensor axes_ = axes_by_tensor(in_.network().architecture->axis_groups());
  std::map<std::string, UnitActivations> activations_;
  double marginal_error_ = 0;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  Transports transports(in, options);
  std::vector<UnitMaps> maps{unit_maps_of(unmoved(in.network().architecture->axis_groups()), in.device())};
  for (size_t i = 1; i < in.num_experts(); ++i) {
    maps.push_back(transports.of(i));
  }
  FusedModel model = merge_mapped(in, maps, options.t);
  model.facts["marginal_error"] = number_text(transports.marginal_error());
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "ot_fusion",
     .title = "OT Fusion",
     .paper = "Singh and Jaggi, NeurIPS 2020, arXiv:1910.05653",
     .formula =
         R"(group after group: T_i = argmin_T <C, T> - reg H(T),   C_kl = |w_1k - w_il|,   rows of T sum to 1/n, columns to 1/m
w: the incoming weights of a unit, of model i transported so far;  or its activations
theta = (1 - t) theta_1 + t (n T_2)(theta_2)   or   1/N sum_i (n T_i)(theta_i))",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .demands = {Demand::kAxisGroups},
     .order_invariant = false,
     .cost = Cost::kMatrix,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::ot_fusion
