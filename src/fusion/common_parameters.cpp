#include "fusion/common_parameters.h"

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/batch_statistics.h"
#include "fusion/whole_model/head_of_classes_seen.h"
#include "fusion/whole_model/head_statistics.h"

namespace fusegrid {
namespace {

constexpr int64_t kBatches = 4;

struct CommonOptions {
  std::string head = "merged";
  std::string statistics = "averaged";
  int64_t statistics_examples = 2000;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param(
        "head", head, Choices{"merged", "of_classes_seen"},
        "of models that hold one: merged with the rest, or the row of each class the mean of those of the "
        "experts that have seen it");
    v.param("statistics", statistics,
            Choices{"averaged", "re_estimated", "re_estimated_with_heads", "repaired"},
            "of activations: of batch norm the experts' mean, or made anew on training inputs, with those of "
            "heads that have any; of nets without norms, repaired");
    v.param("statistics_examples", statistics_examples, Range{kBatches, 1e9},
            "unlabelled training inputs that they are made on");
  }
  bool of_classes_seen() const { return head == "of_classes_seen"; }
  bool are_kept() const { return statistics == "averaged"; }
  bool of_heads() const { return statistics == "re_estimated_with_heads"; }
};

std::vector<ParamInfo> listed(CommonOptions options) {
  ParamLister lister;
  options.describe(lister);
  return lister.params();
}

struct Divided {
  CommonOptions common;
  ParamText own;
};

Divided divided(const std::string& method, const ParamText& text) {
  Divided parts;
  ParamText common;
  const auto all = listed({});
  for (const auto& [name, value] : text) {
    const bool is_common = std::any_of(all.begin(), all.end(),
                                       [&, &key = name](const ParamInfo& info) { return info.name == key; });
    (is_common ? common : parts.own).emplace(name, value);
  }
  ParamReader reader("method '" + method + "'", common);
  parts.common.describe(reader);
  return parts;
}

std::string canonical_of(const CommonOptions& options) {
  const auto defaults = listed({}), given = listed(options);
  std::vector<std::string> parts;
  for (size_t i = 0; i < given.size(); ++i) {
    const bool is_idle = given[i].name == "statistics_examples" && options.are_kept();
    if (!is_idle && given[i].value != defaults[i].value) {
      parts.push_back(given[i].name + "=" + given[i].value);
    }
  }
  return join(parts, ",");
}

// Ready batches of every task.
std::map<std::string, std::vector<Inputs>> batches_by_task(const FusionInput& in, int64_t examples) {
  std::map<std::string, std::vector<Inputs>> batches;
  const auto of_task =
      std::max<int64_t>(examples / kBatches / static_cast<int64_t>(in.tasks().size()), 1) * kBatches;
  for (const std::string& task : in.tasks()) {
    const Inputs inputs = in.train_inputs(task, of_task);
    const int64_t each = inputs.size() / kBatches;
    if (each == 0) {
      throw ConfigError("statistics are made of " + std::to_string(kBatches) +
                        " batches, but there are fewer training examples of task '" + task + "'");
    }
    for (int64_t i = 0; i < kBatches; ++i) {
      batches[task].push_back(in.network().ready(inputs.rows(i * each, each)));
    }
  }
  return batches;
}

// Each has its share of the inputs of every task.
std::vector<Inputs> mixed(const FusionInput& in, const std::map<std::string, std::vector<Inputs>>& by_task) {
  std::vector<Inputs> batches;
  for (size_t i = 0; i < kBatches; ++i) {
    std::vector<Inputs> parts;
    for (const std::string& task : in.tasks()) {
      parts.push_back(by_task.at(task)[i]);
    }
    batches.push_back(concatenate_inputs(parts));
  }
  return batches;
}

// Those of the merge, with their own statistics made anew.
void add_heads(const FusionInput& in, const std::map<std::string, std::vector<Inputs>>& batches,
               FusedModel& fused) {
  Network network = in.network();
  for (const auto& [head, readout] : fused.readouts) {
    network.readouts[head] = readout;
  }
  const auto heads = re_estimated_heads(network, *fused.predictor, batches);
  if (heads.empty()) {
    throw ConfigError("no head of the zoo has running statistics; take statistics=re_estimated");
  }
  for (const auto& [head, readout] : heads) {
    fused.readouts[head] = readout;
  }
}

Weights with_statistics(const FusionInput& in, const CommonOptions& options, const FusedModel& fused,
                        const Weights& weights, const std::vector<Inputs>& batches) {
  if (options.statistics != "repaired") {
    return re_estimated(in.network(), weights, batches);
  }
  std::vector<const Weights*> models;
  std::vector<double> shares;
  for (const auto& [share, model] : fused.mean_of) {
    models.push_back(&model);
    shares.push_back(share);
  }
  return repaired(in.network(), weights, models, shares, batches);
}

[[noreturn]] void refuse_repair(const std::string& method) {
  throw ConfigError("statistics are repaired towards those of the models that a merge is the mean of, but '" +
                    method + "' makes no such mean; use a method of the family alignment");
}

void refuse_head(const std::string& method) {
  throw ConfigError("head=of_classes_seen asks for one model of units in the experts' order, which '" +
                    method + "' does not make; leave 'head' out");
}

FusedModel with_head_of_classes_seen(const MethodCard& card, const FusionInput& in, FusedModel fused) {
  if (card.family == Family::kAlignment && fused.mean_of.empty()) {
    refuse_head(card.name);
  }
  const Weights rows = head_of_classes_seen(in, fused.mean_of);
  fused.predictor = fused.predictor->mapped([&](const Weights& weights) {
    Weights changed = weights;
    for (const auto& [name, tensor] : rows) {
      changed[name] = tensor;
    }
    return changed;
  });
  return fused;
}

FusedModel finished(const MethodCard& card, const FusionInput& in, const CommonOptions& options,
                    FusedModel fused) {
  const std::string& method = card.name;
  if (options.of_classes_seen()) {
    fused = with_head_of_classes_seen(card, in, std::move(fused));
  }
  if (options.are_kept()) {
    return fused;
  }
  if (options.statistics == "repaired" && fused.mean_of.empty()) {
    refuse_repair(method);
  }
  const PrecisionScope scope(in.network().precision);
  const auto by_task = batches_by_task(in, options.statistics_examples);
  const std::vector<Inputs> batches = mixed(in, by_task);
  auto predictor = fused.predictor->mapped(
      [&](const Weights& weights) { return with_statistics(in, options, fused, weights, batches); });
  if (predictor == nullptr) {
    throw ConfigError("method '" + method +
                      "' makes no whole models whose statistics could be made anew; leave 'statistics' out");
  }
  fused.predictor = std::move(predictor);
  if (options.of_heads()) {
    add_heads(in, by_task, fused);
  }
  return fused;
}

}  // namespace

std::vector<ParamInfo> common_parameters() {
  return listed({});
}

Method with_common_parameters(Method method) {
  const Method own = method;
  const std::string name = method.card.name;
  method.fuse = [=](const FusionInput& in, const ParamText& text) {
    const auto [common, rest] = divided(name, text);
    return finished(own.card, in, common, own.fuse(in, rest));
  };
  method.canonical = [=](const ParamText& text) {
    const auto [common, rest] = divided(name, text);
    const std::string first = own.canonical(rest), second = canonical_of(common);
    return first + (first.empty() || second.empty() ? "" : ",") + second;
  };
  method.check = [=](const ParamText& text, const MethodCard& card, int64_t experts) {
    const auto [common, rest] = divided(name, text);
    if (common.statistics == "repaired" && card.family != Family::kAlignment) {
      refuse_repair(name);
    }
    if (common.of_classes_seen() && (card.yields != Yields::kOneModel || card.min_experts == 0)) {
      refuse_head(name);
    }
    own.check(rest, card, experts);
  };
  method.demands = [=](const ParamText& text) {
    const auto [common, rest] = divided(name, text);
    std::set<Demand> demands = own.demands(rest);
    if (common.of_classes_seen()) {
      demands.insert(Demand::kHeadInside);
    }
    if (!common.are_kept()) {
      demands.insert(common.statistics == "repaired" ? Demand::kRepairable : Demand::kRunningStatistics);
    }
    return demands;
  };
  method.needs = [=](const ParamText& text) {
    const auto [common, rest] = divided(name, text);
    std::set<Need> needs = own.needs(rest);
    if (common.of_classes_seen()) {
      needs.insert(Need::kClassesSeen);
    }
    if (!common.are_kept()) {
      needs.insert(Need::kTrainInputs);
    }
    return needs;
  };
  if (own.direction) {
    method.direction = [=](const FusionInput& in, const ParamText& text) {
      return own.direction(in, divided(name, text).own);
    };
  }
  return method;
}

}  // namespace fusegrid
