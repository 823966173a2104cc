#include "worker/merge_maker.h"

#include <array>

#include <unistd.h>

#include "core/text.h"
#include "fusion/cell_merge.h"
#include "fusion/engines/stream_device.h"
#include "fusion/sharding.h"
#include "worker/device_clock.h"
#include "worker/memory_merge.h"
#include "worker/merge_meter.h"

namespace fusegrid {

int64_t room_for_models(at::Device device, int64_t limit_bytes) {
  if (device.is_cuda()) {
    return free_memory(device) / 4 * 3;
  }
  return (limit_bytes > 0 ? limit_bytes : sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)) / 2;
}

MergeMaker::MergeMaker(const MergeSettings& settings, at::Device device)
    : device_(device),
      model_bytes_(settings.model_bytes),
      as_made_(settings.as_made),
      streamed_(settings.streamed),
      statistics_(settings.statistics_bytes, settings.statistics, device, settings.statistics_disk_bytes),
      streamed_merger_(device, settings.memory_limit_bytes),
      external_merger_(settings.external, device) {}

bool MergeMaker::is_streamed(const Cell& cell, OpenZoo& zoo) const {
  const MethodCard card = method_registry().at(cell.method).card_of(parse_call(cell.method_text()).second);
  if (!can_be_sharded(card)) {
    return false;
  }
  const std::vector<std::string> experts = zoo.zoo().experts_called(cell.experts);
  const size_t made = card.yields == Yields::kModelPerTask ? experts.size() : 1;
  const auto models = static_cast<int64_t>(models_read(card, experts).size() + made);
  return streamed_ || models * zoo.model_bytes(cell.seed) > model_bytes_;
}

Merge& MergeMaker::of(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick) {
  if (merge_name(cell) == last_.name) {
    return last_;
  }
  if (is_streamed(cell, zoo)) {
    return with_team(cell, zoo, *local_collectives(), tick);
  }
  last_ = {};
  if (is_external(cell.method)) {
    make_elsewhere(cell, zoo, tick);
  } else {
    make_in_memory(cell, zoo, tick);
  }
  return last_;
}

void MergeMaker::make_elsewhere(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick) {
  const DeviceClock clock(device_);  // what a command does elsewhere has seconds alone
  FusedModel model = external_merger_.merge(cell, zoo, tick);
  const double fuse_s = clock.seconds();
  keep(cell, std::move(model), zoo.network(cell.seed).precision);
  last_.costs = {{"fuse_s", fuse_s}};
}

void MergeMaker::make_in_memory(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick) {
  const MethodCard& card = method_registry().at(cell.method).card;
  const DeviceClock load_clock(device_);
  const auto models = zoo.models(cell.seed, models_read(card, zoo.zoo().experts_called(cell.experts)));
  const double load_s = load_clock.seconds();
  const MergeMeter meter(device_);
  FusedModel model = merge_in_memory(cell, zoo, models, statistics_, tick);
  auto costs = meter.costs();
  keep(cell, std::move(model), zoo.network(cell.seed).precision);
  costs["load_s"] = load_s;
  last_.costs = std::move(costs);
}

Merge& MergeMaker::with_team(const Cell& cell, OpenZoo& zoo, Collectives& group,
                             const std::function<void()>& tick) {
  last_ = {};
  const MergeMeter meter(device_);
  FusedModel model = streamed_merger_.merge(cell, zoo, group, tick);
  auto costs = meter.costs();
  std::array operations{static_cast<int64_t>(costs.at("fuse_operations"))};
  group.all_reduce_sum(operations);
  costs["fuse_operations"] = static_cast<double>(operations.front());
  keep(cell, std::move(model), zoo.network(cell.seed).precision);
  last_.costs = std::move(costs);
  return last_;
}

// The digest is that of the weights as they were made, whatever precision they are held in.
void MergeMaker::keep(const Cell& cell, FusedModel model, Precision precision) {
  Merge made;
  made.facts = model.facts;
  made.facts["stored_parameters"] = number_text(model.stored_parameters);
  made.facts["weights_sha256"] = digest(model.predictor->weights());
  made.model = std::move(model);
  if (const auto held = as_made_ ? nullptr : made.model.predictor->held_in(precision)) {
    made.model.predictor = held;
  }
  made.name = merge_name(cell);
  last_ = std::move(made);
}

}  // namespace fusegrid
