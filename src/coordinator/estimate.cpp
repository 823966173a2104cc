#include "coordinator/estimate.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "fusion/sharding.h"

namespace fusegrid {
namespace {

// Priors for machines nobody has measured yet: one CPU core. They only have to order work sensibly.
constexpr double kBytesPerSecond = 1e9;       // streamed through an element-wise pass
constexpr double kFlopsPerSecond = 2e10;      // of a forward pass
constexpr double kTokens = 50;                // of an image: a ViT-B/32's, the embedded zoo has fewer
constexpr double kStatisticsImages = 256;     // per expert, of methods that look at data
constexpr double kTrainingImages = 300 * 16;  // per expert, of methods that train
constexpr int64_t kProgramBytes = int64_t{400} << 20;  // LibTorch and its work space

int64_t checkpoint_bytes(const std::filesystem::path& folder) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") {
      bytes += static_cast<int64_t>(entry.file_size());
    }
  }
  return bytes;
}

double forward_s(int64_t model_bytes, double images) {
  const double parameters = static_cast<double>(model_bytes) / sizeof(float);
  return 2 * parameters * kTokens * images / kFlopsPerSecond;
}

double prior_fuse_s(const MethodCard& card, int64_t model_bytes, double experts) {
  const double pass_s = static_cast<double>(model_bytes) * (experts + 2) / kBytesPerSecond;
  switch (card.cost) {
    case Cost::kElementwise:
      return 3 * pass_s;
    case Cost::kMatrix:
      return 100 * pass_s;
    case Cost::kForwardPasses:
      return 10 * pass_s + forward_s(model_bytes, experts * kStatisticsImages);
    case Cost::kTraining:
      return 3 * forward_s(model_bytes, experts * kTrainingImages);
  }
  FUSEGRID_ASSERT(false, "unknown cost class");
}

// Forward passes that an answer takes, in units of one model's.
double models_asked(const MethodCard& card, double experts) {
  switch (card.yields) {
    case Yields::kOneModel:
    case Yields::kModelPerTask:
      return 1;
    case Yields::kEnsemble:
      return experts;
    case Yields::kRoutedModel:
      return 2;
  }
  FUSEGRID_ASSERT(false, "unknown kind of result");
}

// Models that the method keeps besides base and experts: its result, and its working copies.
double models_kept(const MethodCard& card, double experts) {
  double models = card.yields == Yields::kOneModel ? 1 : experts;
  if (card.needs.contains(Need::kMultitask)) {
    models += 1;
  }
  if (card.cost == Cost::kTraining) {
    models += 3;  // merged weights, gradients, the optimiser's moments
  } else if (card.cost != Cost::kElementwise) {
    models += experts;  // statistics of each expert
  }
  return models;
}

int64_t num_evaluated(const PackContents& contents, const std::string& task) {
  int64_t images = 0;
  for (const auto& [split, examples] : contents.at(task)) {
    images += split == "train" ? 0 : examples;
  }
  return images;
}

}  // namespace

ZooSize zoo_size(const Zoo& zoo, const PackContents& contents) {
  return {.model_bytes = checkpoint_bytes(zoo.replicates.front().base),
          .contents = contents,
          .pack_bytes = static_cast<int64_t>(std::filesystem::file_size(zoo.pack))};
}

void learn(CostModel& model, const std::map<std::string, Result>& results) {
  for (const auto& [name, result] : results) {
    if (result.status != Status::kValid) {
      continue;
    }
    Cell cell;
    try {
      cell = Cell::parse(name);
    } catch (const ConfigError&) {
      continue;  // a folder of another kind of items
    }
    // A merge is timed in the cell that made it; the others of its group have no such timing.
    if (const auto fuse = result.timings.find("fuse"); fuse != result.timings.end()) {
      model.observe("fuse/" + cell.method, fuse->second);
    }
    if (const auto evaluate = result.timings.find("evaluate"); evaluate != result.timings.end()) {
      model.observe("evaluate/" + cell.zoo + "/" + cell.task, evaluate->second);
    }
  }
}

int64_t Estimator::num_experts(const Cell& cell) const {
  const bool number = cell.experts.find_first_not_of("0123456789") == std::string::npos;
  return number ? parse_int(cell.experts, "experts") : static_cast<int64_t>(split(cell.experts, '+').size());
}

int64_t Estimator::shards(const Cell& cell) const {
  return can_be_sharded(method_registry().at(cell.method).card) ? shards_ : 1;
}

double Estimator::fuse_s(const Cell& cell) const {
  const auto& card = method_registry().at(cell.method).card;
  const double prior =
      prior_fuse_s(card, sizes_.at(cell.zoo).model_bytes, static_cast<double>(num_experts(cell)));
  return model_.estimate("fuse/" + cell.method, prior);
}

double Estimator::evaluate_s(const Cell& cell) const {
  const auto& card = method_registry().at(cell.method).card;
  const auto& size = sizes_.at(cell.zoo);
  const double images = static_cast<double>(num_evaluated(size.contents, cell.task));
  // What was measured is mostly single models; ensembles ask several.
  return models_asked(card, static_cast<double>(num_experts(cell))) *
         model_.estimate("evaluate/" + cell.zoo + "/" + cell.task, forward_s(size.model_bytes, images));
}

int64_t Estimator::memory_bytes(const Cell& cell) const {
  const auto& card = method_registry().at(cell.method).card;
  const auto& size = sizes_.at(cell.zoo);
  const auto experts = static_cast<double>(num_experts(cell));
  // a team reads base and experts from their files, and keeps the results alone
  const bool streamed = shards(cell) > 1;
  const double models = streamed ? (card.yields == Yields::kModelPerTask ? experts : 1)
                                 : 1 + experts + models_kept(card, experts);
  return kProgramBytes + static_cast<int64_t>(models * static_cast<double>(size.model_bytes));
}

Item Estimator::item(const Cell& cell) const {
  return {.name = cell.name(),
          .group = cell.merge_name(),
          .cost_s = evaluate_s(cell),
          .group_cost_s = fuse_s(cell),
          .shards = static_cast<int>(shards(cell))};
}

JobTotals totals(const std::vector<Cell>& cells, const std::map<std::string, Result>& recorded,
                 const JobZoos& zoos, const std::map<std::string, ZooSize>& sizes,
                 const Estimator& estimator) {
  JobTotals totals;
  std::set<std::string> merges;
  std::set<std::string> merges_left;
  std::map<std::string, std::set<std::filesystem::path>> read;  // by zoo name
  std::map<std::string, const Zoo*> by_name;
  for (const auto& [text, zoo] : zoos) {
    by_name[zoo.name] = &zoo;
  }
  for (const auto& cell : cells) {
    MethodTotals one{.cells = 1};
    one.merges = merges.insert(cell.merge_name()).second ? 1 : 0;
    if (recorded.contains(cell.name())) {
      one.recorded = 1;
    } else {
      const Zoo& zoo = *by_name.at(cell.zoo);
      one.cost_s = estimator.evaluate_s(cell);
      if (merges_left.insert(cell.merge_name()).second) {
        one.cost_s += estimator.fuse_s(cell);
        const Replicate& replicate = zoo.replicate(cell.seed);
        auto& folders = read[cell.zoo];
        folders.insert(replicate.base);
        for (const auto& task : zoo.experts(cell.experts)) {
          folders.insert(replicate.experts.at(task));
        }
      }
      totals.worker_memory_bytes = std::max(totals.worker_memory_bytes, estimator.memory_bytes(cell));
    }
    for (auto* sum : {&totals.methods[cell.method], &totals.all}) {
      sum->merges += one.merges;
      sum->cells += one.cells;
      sum->recorded += one.recorded;
      sum->cost_s += one.cost_s;
    }
    totals.methods[cell.method].shards = estimator.shards(cell);
  }
  for (const auto& [zoo, folders] : read) {
    totals.read_bytes +=
        static_cast<int64_t>(folders.size()) * sizes.at(zoo).model_bytes + sizes.at(zoo).pack_bytes;
  }
  return totals;
}

}  // namespace fusegrid
