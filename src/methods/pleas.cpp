// PLeaS: permute the units of a second model onto those of the first, merge the pairs that match best, keep the others
// of both apart, and fit the weights of each layer so that it makes of merged inputs what the models' own layers make.
//
//   theta = sum_i M_i theta_i U_i,   then per layer  W = argmin |Z W^T - O|^2
//
// Source:  Nasery et al., "PLeaS -- Merging Models with Permutations and Least Squares", CVPR 2025, arXiv:2407.02447.
// Differs: all groups keep the same fraction of their units apart, where the authors choose a ratio per group by a
//          quadratic programme. The least squares are solved, towards the merged weights by `ridge`, and with the bias;
//          theirs are 400 steps of Adam. Units that are kept apart count half in the layer behind them also where that
//          is the head, which the authors' code forgets. Layers outside axis groups (heads) are merged without a fit.
// Grain:   whole model: forward passes.
// Cost:    two forward passes of `examples` inputs per model, the products of what the layers of both read, and per
//          layer a solve of that size.

#include <algorithm>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/text.h"
#include "fusion/alignment/activations.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/assignment.h"
#include "fusion/alignment/matching.h"
#include "models/feeder.h"

namespace fusegrid::methods::pleas {
namespace {

constexpr int64_t kBatch = 64;  // kernels are unfolded

struct Options {
  double apart = 0;
  std::string match = "activations";
  bool least_squares = true;
  double ridge = 1e-6;
  int64_t examples = 1000;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("apart", apart, Range{0, 1},
            "fraction of each group's units that stay apart: a group has 1 + apart times as many");
    v.param("match", match, Choices{"activations", "weights"}, "what units are matched by");
    v.param("least_squares", least_squares, "whether layers are fitted to what the models' own layers make");
    v.param("ridge", ridge, Range{1e-12, 1e6},
            "pull towards the merged weights, in units of the inputs' mean square");
    describe_matching_examples(v, examples);
  }
  std::set<Demand> demands() const {
    std::set<Demand> more;
    if (apart > 0) {
      more.insert(Demand::kFreeWidths);
    }
    if (least_squares) {
      more.insert(Demand::kLayers);
    }
    return more;
  }
  std::set<Need> needs(std::set<Need> of_card) const {
    return match == "weights" && !least_squares ? std::set<Need>{} : of_card;
  }
};

// What becomes of the units of one group: pairs that are merged first, then what stays apart of either model.
struct Pairing {
  std::vector<std::pair<int64_t, int64_t>> merged;
  std::vector<int64_t> apart[2];
  int64_t units = 0;  // of one model

  int64_t width() const { return units + static_cast<int64_t>(apart[0].size()); }
  // makes: a merged unit is the mean of its pair; reads: what reads a unit reads the one that it became.
  UnitMap map_of(size_t model, at::Device device) const {
    at::Tensor makes = at::zeros({width(), units}, at::kDouble);
    at::Tensor reads = at::zeros({units, width()}, at::kDouble);
    const auto set = [&](int64_t unit, int64_t becomes, double part) {
      makes.mutable_data_ptr<double>()[becomes * units + unit] = part;
      reads.mutable_data_ptr<double>()[unit * width() + becomes] = 1;
    };
    int64_t place = 0;
    for (const auto& [first, second] : merged) {
      set(model == 0 ? first : second, place++, 0.5);
    }
    place += model == 0 ? 0 : static_cast<int64_t>(apart[0].size());
    for (const int64_t unit : apart[model]) {
      set(unit, place++, 1);
    }
    return {makes.to(device), reads.to(device)};
  }
};

// The pairs of a permutation with the highest scores; of equal ones the first.
Pairing pairing_of(const Permutation& permutation, const at::Tensor& scores, double apart) {
  const at::Tensor known = scores.to(at::kCPU, at::kDouble).contiguous();
  const auto n = static_cast<int64_t>(permutation.size());
  const auto score = [&](int64_t unit) {
    return known.const_data_ptr<double>()[unit * n + permutation[static_cast<size_t>(unit)]];
  };
  std::vector<int64_t> order = unmoved(n);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score(a) > score(b); });
  const int64_t merged = n - static_cast<int64_t>(apart * static_cast<double>(n) + 0.5);
  std::sort(order.begin(), order.begin() + merged);
  std::sort(order.begin() + merged, order.end());
  Pairing pairing;
  pairing.units = n;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t unit = order[static_cast<size_t>(i)];
    const int64_t partner = permutation[static_cast<size_t>(unit)];
    if (i < merged) {
      pairing.merged.emplace_back(unit, partner);
    } else {
      pairing.apart[0].push_back(unit);
      pairing.apart[1].push_back(partner);
    }
  }
  return pairing;
}

std::map<std::string, Pairing> pairings(const FusionInput& in, const Options& options) {
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  std::map<std::string, Pairing> by_group;
  if (options.match == "weights") {
    const UnitScores scores = weight_products(in.expert(0), in.expert(1), groups);
    const Alignment found = match(groups, scores, unmoved(groups), [&] { in.tick(); }).alignment;
    const UnitScores likeness = weight_correlations(in.expert(0), in.expert(1), groups);
    for (const AxisGroup& group : groups) {
      by_group[group.name] = pairing_of(found.at(group.name), likeness(group, found), options.apart);
    }
    return by_group;
  }
  for (const auto& [group, of_group] : unit_activations(in, options.examples)) {
    const at::Tensor scores = block_of(of_group.correlations, 2, 0, 1);
    by_group[group] = pairing_of(best_assignment(scores), scores, options.apart);
  }
  return by_group;
}

// Sums of products of what the layers of both models read, side by side and with a constant behind them: by
// Layer::name, float64 [2 in + 1, 2 in + 1].
Weights products_of_inputs(const FusionInput& in, int64_t examples) {
  const PrecisionScope scope(in.network().precision);
  const Network& network = in.network();
  const std::vector<std::string> tasks = in.tasks();
  const int64_t share = std::max<int64_t>(1, examples / static_cast<int64_t>(tasks.size()));
  Weights sums;
  for (const std::string& task : tasks) {
    feed(network, in.train_inputs(task, share), kBatch, [&](const Inputs& ready, const at::Tensor&) {
      std::map<std::string, std::vector<at::Tensor>> read;
      for (size_t i = 0; i < 2; ++i) {
        const LayerHook keep = [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                                   const at::Tensor& bias) {
          at::Tensor rows = x.reshape({-1, x.size(-1)});
          if (const at::Tensor counting = counting_rows(layer, ready, x); counting.defined()) {
            rows = rows * counting.reshape({-1, 1});  // rows that count for nothing add nothing
          }
          read[layer.name].push_back(rows.to(at::kDouble));
          return at::linear(x, weight, bias);
        };
        network.features(rounded(in.expert(i), network.precision), ready, {keep});
      }
      for (auto& [layer, rows] : read) {
        rows.push_back(at::ones({rows[0].size(0), 1}, rows[0].options()));
        const at::Tensor both = concatenate(rows, 1);
        const at::Tensor products = at::matmul(both.t(), both);
        const auto [sum, first] = sums.try_emplace(layer, products);
        if (!first) {
          sum->second.add_(products);
        }
      }
      in.tick();
    });
  }
  return sums;
}

class Fit {
 public:
  Fit(const FusionInput& in, const Options& options, const std::map<std::string, Pairing>& pairings,
      const std::vector<UnitMaps>& maps)
      : in_(in), options_(options), pairings_(pairings), maps_(maps) {}

  void fit(Weights& merged) const {
    for (const auto& [name, products] : products_of_inputs(in_, options_.examples)) {
      for (const Layer& layer : in_.network().architecture->layers()) {
        if (layer.name == name && group_along(layer, 0) != nullptr) {
          fit(layer, products, merged);
        }
      }
    }
  }

 private:
  const AxisOfGroup* group_along(const Layer& layer, int64_t axis) const {
    const auto of_tensor = axes_.find(layer.weight);
    if (of_tensor != axes_.end()) {
      for (const AxisOfGroup& along : of_tensor->second) {
        if (along.axis == axis) {
          return &along;
        }
      }
    }
    return nullptr;
  }

  // A map of units as one of their entries.
  static at::Tensor of_entries(const at::Tensor& map, int64_t entries) {
    return at::kron(map, at::eye(entries, map.options()));
  }

  // With the bias as a last column, or 0: [out, columns + 1].
  static at::Tensor with_bias(const Layer& layer, const Weights& weights) {
    const at::Tensor weight = weights.at(layer.weight).flatten(1).to(at::kDouble);
    const auto bias = weights.find(layer.bias);
    const at::Tensor last =
        bias == weights.end() ? at::zeros({weight.size(0)}, weight.options()) : bias->second.to(at::kDouble);
    return concatenate({weight, last.unsqueeze(1)}, 1);
  }

  // What the merged layer reads, as a map of what both models' layers read: [columns' + 1, 2 columns + 1].
  at::Tensor merged_inputs(const Layer& layer, int64_t columns) const {
    const auto options = at::TensorOptions(at::kDouble).device(in_.device());
    std::vector<at::Tensor> parts;
    const AxisOfGroup* reads = group_along(layer, 1);
    for (size_t i = 0; i < 2; ++i) {
      parts.push_back(reads == nullptr ? at::eye(columns, options) * 0.5
                                       : of_entries(maps_[i].at(reads->group).makes, columns / reads->size));
    }
    const at::Tensor both = concatenate(parts, 1);
    at::Tensor all = at::zeros({both.size(0) + 1, both.size(1) + 1}, options);
    all.narrow(0, 0, both.size(0)).narrow(1, 0, both.size(1)).copy_(both);
    all.select(0, both.size(0)).select(0, both.size(1)).fill_(1);
    return all;
  }

  // What the merged layer should make, as a map of what both models' layers read: [out', 2 columns + 1].
  at::Tensor targets(const Layer& layer, const std::string& group) const {
    std::vector<at::Tensor> parts;
    at::Tensor bias;
    for (size_t i = 0; i < 2; ++i) {
      const at::Tensor own = with_bias(layer, in_.expert(i));
      const at::Tensor& makes = maps_[i].at(group).makes;
      const at::Tensor made = at::matmul(of_entries(makes, own.size(0) / makes.size(1)), own);
      parts.push_back(made.narrow(1, 0, made.size(1) - 1));
      const at::Tensor last = made.narrow(1, made.size(1) - 1, 1);
      bias = bias.defined() ? bias + last : last;
    }
    parts.push_back(bias);
    return concatenate(parts, 1);
  }

  // Columns of the merged layer's input that a block of its units may read: 0 the merged ones, 1 and 2 those apart.
  at::Tensor columns_for(const Layer& layer, int64_t block, int64_t columns, bool bias) const {
    std::vector<int64_t> allowed;
    const AxisOfGroup* reads = group_along(layer, 1);
    if (reads == nullptr) {
      allowed = unmoved(columns);
    } else {
      const Pairing& pairing = pairings_.at(reads->group);
      const int64_t entries = columns / pairing.width();
      const auto merged = static_cast<int64_t>(pairing.merged.size());
      const auto apart = static_cast<int64_t>(pairing.apart[0].size());
      for (int64_t unit = 0; unit < pairing.width(); ++unit) {
        const int64_t of_unit = unit < merged ? 0 : unit < merged + apart ? 1 : 2;
        for (int64_t entry = 0; entry < entries && (block == 0 || of_unit == 0 || of_unit == block);
             ++entry) {
          allowed.push_back(unit * entries + entry);
        }
      }
    }
    if (bias) {
      allowed.push_back(columns);
    }
    return at::tensor(allowed, at::kLong).to(in_.device());
  }

  void fit(const Layer& layer, const at::Tensor& products, Weights& merged) const {
    const std::string& group = group_along(layer, 0)->group;
    const Pairing& made = pairings_.at(group);
    const at::Tensor inputs = merged_inputs(layer, in_.expert(0).at(layer.weight).flatten(1).size(1));
    const at::Tensor gram = at::matmul(at::matmul(inputs, products), inputs.t());
    const at::Tensor wanted = at::matmul(at::matmul(targets(layer, group), products), inputs.t());
    at::Tensor fitted = with_bias(layer, merged);
    const bool bias = merged.contains(layer.bias);
    const int64_t columns = fitted.size(1) - 1;
    const auto apart = static_cast<int64_t>(made.apart[0].size());
    const int64_t entries = fitted.size(0) / made.width();
    const int64_t sizes[] = {(made.width() - 2 * apart) * entries, apart * entries, apart * entries};
    int64_t begin = 0;
    for (int64_t block = 0; block < 3; ++block) {
      const at::Tensor allowed = columns_for(layer, block, columns, bias);
      if (sizes[block] > 0) {
        at::Tensor rows = fitted.narrow(0, begin, sizes[block]);
        solve(rows, gram, wanted.narrow(0, begin, sizes[block]), allowed);
      }
      begin += sizes[block];
    }
    at::Tensor& weight = merged.at(layer.weight);
    weight = fitted.narrow(1, 0, columns).reshape(weight.sizes()).to(weight.scalar_type());
    if (bias) {
      at::Tensor& own = merged.at(layer.bias);
      own = fitted.select(1, columns).to(own.scalar_type());
    }
  }

  // rows <- rows + (wanted - rows G) (G + ridge mean(diag G))^-1 on the allowed columns.
  void solve(at::Tensor& rows, const at::Tensor& gram, const at::Tensor& wanted,
             const at::Tensor& allowed) const {
    const at::Tensor own = gram.index_select(0, allowed).index_select(1, allowed);
    const double pull = options_.ridge * std::max(own.diagonal().mean().item<double>(), 1e-300);
    const at::Tensor start = rows.index_select(1, allowed);
    const at::Tensor rest = wanted.index_select(1, allowed) - at::matmul(start, own);
    const at::Tensor factor = at::linalg_cholesky(own + at::eye(own.size(0), own.options()) * pull);
    rows.index_copy_(1, allowed, start + at::cholesky_solve(rest.t(), factor).t());
  }

  const FusionInput& in_;
  const Options& options_;
  const std::map<std::string, Pairing>& pairings_;
  const std::vector<UnitMaps>& maps_;
  AxesByTensor axes_ = axes_by_tensor(in_.network().architecture->axis_groups());
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  const auto paired = pairings(in, options);
  std::vector<UnitMaps> maps(2);
  for (const auto& [group, pairing] : paired) {
    for (size_t i = 0; i < 2; ++i) {
      maps[i][group] = pairing.map_of(i, in.device());
    }
  }
  Weights merged = merged_by_maps(in.experts(), groups, maps);
  if (options.least_squares) {
    Fit(in, options, paired, maps).fit(merged);
  }
  FusedModel model = one_model(std::move(merged));
  if (options.apart > 0) {
    model.stored_parameters = stored_entries(in.experts(), groups, maps);
  }
  model.readouts = mapped_readouts(in, maps);
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "pleas",
     .title = "PLeaS",
     .paper = "Nasery et al., CVPR 2025, arXiv:2407.02447",
     .formula =
         R"(pairs of units by the best permutation; the (1 - apart) best of them are merged, the others of both stay
M_i: a merged unit is the mean of its pair,   U_i: what reads a unit reads the merged one
theta = sum_i M_i theta_i U_i,   what makes no group: the mean over i
then per layer  W = argmin_W |Z W^T - sum_i O_i M_i^T|^2,   Z = sum_i X_i M_i^T,   O_i = X_i W_i^T: model i's own)",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs},
     .demands = {Demand::kAxisGroups},
     .cost = Cost::kForwardPasses,
     .min_experts = 2,
     .max_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::pleas
