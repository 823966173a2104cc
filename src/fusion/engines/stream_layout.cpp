#include "fusion/engines/stream_layout.h"

#include <algorithm>

namespace fusegrid {
namespace {
// For each rank.
constexpr size_t kWaveStages = 8;
constexpr int64_t kWaveElements = int64_t{1} << 30;
}  // namespace

StreamLayout::StreamLayout(const std::vector<TensorInfo>& tensors,
                           const std::vector<std::vector<size_t>>& stages, int ranks, int64_t block)
    : ranks_(ranks) {
  for (const TensorInfo& info : tensors) {
    numel_.push_back(info.numel());
  }
  stage_of_.resize(tensors.size());
  std::vector<int64_t> load(ranks, 0);
  for (const auto& stage : stages) {
    int64_t elements = 0;
    for (const size_t tensor : stage) {
      stage_of_[tensor] = stage_elements_.size();
      elements += numel_[tensor];
    }
    stage_elements_.push_back(elements);
    split_elements(stage, block);
    assign_whole(stage, load);
  }
}

void StreamLayout::split_elements(const std::vector<size_t>& stage, int64_t block) {
  auto& parts = elements_.emplace_back(ranks_);
  const auto total = static_cast<double>(stage_elements_.back());
  int64_t done = 0;
  for (const size_t tensor : stage) {
    for (int64_t begin = 0; begin < numel_[tensor]; begin += block) {
      const int64_t count = std::min(block, numel_[tensor] - begin);
      // by the block's middle, so that a rank is off its share by half a block at most
      const double middle = static_cast<double>(done) + static_cast<double>(count) / 2;
      auto& part = parts[static_cast<size_t>(middle * ranks_ / total)];
      if (!part.empty() && part.back().tensor == tensor) {
        part.back().count += count;
      } else {
        part.push_back({tensor, begin, count});
      }
      done += count;
    }
  }
}

void StreamLayout::assign_whole(std::vector<size_t> stage, std::vector<int64_t>& load) {
  std::stable_sort(stage.begin(), stage.end(), [&](size_t a, size_t b) { return numel_[a] > numel_[b]; });
  auto& parts = whole_.emplace_back(ranks_);
  for (const size_t tensor : stage) {
    if (numel_[tensor] > 0) {
      const auto rank = std::min_element(load.begin(), load.end()) - load.begin();
      parts[rank].push_back(tensor);
      load[rank] += numel_[tensor];
    }
  }
}

std::vector<std::vector<size_t>> StreamLayout::waves(const std::vector<size_t>& stages) const {
  const size_t most_stages = kWaveStages * static_cast<size_t>(ranks_);
  const int64_t most_elements = kWaveElements * ranks_;
  std::vector<std::vector<size_t>> waves;
  int64_t elements = 0;
  for (const size_t stage : stages) {
    if (waves.empty() || waves.back().size() == most_stages ||
        elements + stage_elements_[stage] > most_elements) {
      waves.emplace_back();
      elements = 0;
    }
    waves.back().push_back(stage);
    elements += stage_elements_[stage];
  }
  return waves;
}

std::vector<StreamRange> taken_in_turn(const std::vector<StagePieces>& stages) {
  std::vector<StreamRange> ranges;
  for (size_t turn = 0, left = stages.size(); left > 0; ++turn) {
    left = 0;
    for (const StagePieces& pieces : stages) {
      if (turn < pieces.size()) {
        ranges.insert(ranges.end(), pieces[turn].begin(), pieces[turn].end());
        ++left;
      }
    }
  }
  return ranges;
}

}  // namespace fusegrid
