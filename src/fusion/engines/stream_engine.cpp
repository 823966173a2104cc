#include "fusion/engines/stream_engine.h"

#include <algorithm>

#include <ATen/ops/empty.h>

namespace fusegrid {
namespace {

using Kind = StreamRequest::Kind;

constexpr int64_t kBlocksPerRange = 8;                 // at most: what is read in one go
constexpr int64_t kRangeBytes = int64_t{16} << 20;     // of all models, at most
constexpr int64_t kPinnedElements = int64_t{1} << 20;  // of a page-locked buffer of results
constexpr int64_t kTemporaries = 8;  // tensors of a slice that a method makes, beside one per model

int64_t largest_tensor(const StreamModels& models) {
  int64_t largest = 1;
  for (const TensorInfo& info : models.tensors) {
    largest = std::max(largest, info.numel());
  }
  return largest;
}

int64_t widest_input(const StreamModels& models) {
  int64_t bytes = 1;
  for (const ModelSource* source : models.sources()) {
    for (const TensorInfo& info : source->tensors()) {
      bytes = std::max(bytes, info.floating() ? static_cast<int64_t>(c10::elementSize(info.dtype)) : 1);
    }
  }
  return bytes;
}

int64_t widest_output(const StreamModels& models) {
  int64_t bytes = 1;
  for (const TensorInfo& info : models.tensors) {
    bytes = std::max(bytes, static_cast<int64_t>(c10::elementSize(info.dtype)));
  }
  return bytes;
}

std::string mib(int64_t bytes) {
  return std::to_string((bytes >> 20) + 1) + " MiB";
}

int64_t host_bytes(const StreamBuffers& buffers, const StreamModels& models) {
  return StreamReader::host_bytes(buffers.reader, models.sources().size(), widest_input(models)) +
         buffers.writer.buffers * buffers.writer.buffer_elements * buffers.writer.element_bytes +
         (buffers.reader.device.is_cpu() ? buffers.arithmetic_bytes : 0);
}

// Ranges of several blocks where there is room: for disks, not for the arithmetic.
void lengthen_reads(StreamBuffers& buffers, const StreamModels& models, int64_t limit) {
  const auto sources = static_cast<int64_t>(models.sources().size());
  const int64_t block = buffers.reader.range_elements;
  for (int64_t blocks = 2; blocks <= kBlocksPerRange; blocks *= 2) {
    StreamBuffers longer = buffers;
    longer.reader.range_elements = blocks * block;
    longer.total_bytes = host_bytes(longer, models);
    if ((blocks - 1) * block >= largest_tensor(models) || longer.total_bytes > limit ||
        longer.reader.range_elements * widest_input(models) * sources > kRangeBytes) {
      return;
    }
    buffers = longer;
  }
}

}  // namespace

int64_t whole_tensor_bytes(const StreamModels& models) {
  const auto sources = static_cast<int64_t>(models.sources().size());
  return largest_tensor(models) * static_cast<int64_t>(sizeof(float)) * (2 * sources + kTemporaries);
}

StreamBuffers stream_buffers(const StreamModels& models, size_t outputs, const StreamOptions& options) {
  const int64_t block = std::min(slice_elements(options.device), largest_tensor(models));
  StreamBuffers buffers;
  buffers.reader = {.threads = options.threads,
                    // on a device many: a thread that reads slowly must not keep the others waiting
                    .slots = options.threads == 0      ? 1
                             : options.device.is_cpu() ? 3
                                                       : 8,
                    .range_elements = block,
                    .device = options.device};
  // For one output half as many as read: writers hold processors while the system fills new pages.
  const int writers = outputs > 1 ? options.threads : (options.threads + 1) / 2;
  buffers.writer = {.threads = writers,
                    .buffers = std::max(2 * options.threads, static_cast<int>(std::min<size_t>(outputs, 8))),
                    // page-locking takes time
                    .buffer_elements = options.device.is_cpu() ? block : std::min(block, kPinnedElements),
                    .element_bytes = widest_output(models),
                    .device = options.device};
  const auto sources = static_cast<int64_t>(models.sources().size());
  buffers.arithmetic_bytes = block * static_cast<int64_t>(sizeof(float)) * (2 * sources + kTemporaries);
  buffers.total_bytes = host_bytes(buffers, models);
  if (buffers.total_bytes > options.memory_limit_bytes) {
    buffers.reader.slots = std::min(buffers.reader.slots, 2);
    buffers.writer.buffers = 2;
    buffers.total_bytes = host_bytes(buffers, models);
  }
  if (buffers.total_bytes > options.memory_limit_bytes) {
    throw ConfigError("--memory-limit must allow a few blocks of each of the " + std::to_string(sources) +
                      " models, " + mib(buffers.total_bytes) + " a rank, but it is " +
                      std::to_string(options.memory_limit_bytes >> 20) +
                      " MiB; raise it, or lower --threads");
  }
  if (options.device.is_cpu() && options.threads > 0) {
    lengthen_reads(buffers, models, options.memory_limit_bytes);
  }
  return buffers;
}

void StreamEngine::for_each_slice(const Visit& visit) {
  ask({.kind = Kind::kElements, .visit = visit});
}

void StreamEngine::for_each_sample(const Visit& visit) {
  FUSEGRID_ASSERT(device().is_cpu(), "ranges of a sample would take the place of those kept on the device");
  ask({.kind = Kind::kSample, .visit = visit});
}

void StreamEngine::for_each_tensor(const Visit& visit) {
  ask({.kind = Kind::kTensors, .visit = visit});
}

void StreamEngine::claim_outputs(size_t outputs) {
  if (mapped_ || outputs != what_.outputs) {
    throw AccessError("a streamed method must make its " + std::to_string(what_.outputs) +
                      " model(s) in one pass, but it asked for " + std::to_string(outputs) +
                      (mapped_ ? " in a second one" : ""));
  }
  mapped_ = true;
}

std::vector<Weights> StreamEngine::map(Kind kind, size_t outputs, const Fuse& fuse) {
  claim_outputs(outputs);
  ask({.kind = kind,
       .visit =
           [&](const Slice& slice) {
             const auto values = fuse(slice);
             FUSEGRID_ASSERT(values.size() == outputs,
                             "a slice has " + std::to_string(values.size()) + " results");
             for (size_t i = 0; i < outputs; ++i) {
               session_.write(what_.first_output + i, slice, values[i].to(at::kFloat));
             }
           },
       .first_output = what_.first_output,
       .outputs = outputs});
  std::vector<Weights> models;
  for (size_t i = 0; i < outputs; ++i) {
    models.push_back(without_data());
  }
  return models;
}

std::vector<Weights> StreamEngine::map_slices(size_t outputs, const Fuse& fuse) {
  return map(Kind::kElements, outputs, fuse);
}

std::vector<Weights> StreamEngine::map_tensors(size_t outputs, const Fuse& fuse) {
  return map(Kind::kTensors, outputs, fuse);
}

Weights StreamEngine::without_data() const {
  Weights weights;
  for (const TensorInfo& info : tensors()) {
    weights.emplace(info.name, at::empty(info.shape, at::TensorOptions(at::kMeta).dtype(info.dtype)));
  }
  return weights;
}

// A tensor that one rank holds is added up there; of one that several ranks share, the blocks travel, so that all
// sums are those of blocks in order. Rows: those of a rank's ranges, in the order of stages and ranges.
std::vector<std::vector<double>> StreamEngine::reduce_per_tensor(
    size_t width, const std::function<void(const Slice&, double* out)>& value) {
  const StreamLayout& layout = session_.layout_;
  const int64_t most = slice_elements(device());
  std::vector<StreamRange> part_of(tensors().size());
  std::vector<size_t> first_row(tensors().size(), 0);
  size_t num_rows = 0;
  for (size_t stage = 0; stage < layout.num_stages(); ++stage) {
    for (const StreamRange& range : layout.elements(stage, session_.group_.rank())) {
      part_of[range.tensor] = range;
      first_row[range.tensor] = num_rows;
      num_rows += rows_of(range);
    }
  }
  std::vector<double> mine(num_rows * width, 0.0);
  std::vector<double> block(width);
  std::vector<std::vector<double>> rows;
  ask({.kind = Kind::kElements,
       .visit =
           [&](const Slice& slice) {
             const StreamRange& part = part_of[slice.tensor_index];
             const int64_t row = layout.is_whole(part) ? 0 : (slice.begin - part.begin) / most;
             std::fill(block.begin(), block.end(), 0.0);
             value(slice, block.data());
             for (size_t i = 0; i < width; ++i) {
               mine[(first_row[slice.tensor_index] + static_cast<size_t>(row)) * width + i] += block[i];
             }
           },
       .after = [&] { rows = session_.group_.all_gather(mine); }});
  return add_rows(rows, width);
}

size_t StreamEngine::rows_of(const StreamRange& range) const {
  const int64_t most = slice_elements(device());
  return session_.layout_.is_whole(range) ? 1 : static_cast<size_t>((range.count + most - 1) / most);
}

std::vector<std::vector<double>> StreamEngine::add_rows(const std::vector<std::vector<double>>& rows,
                                                        size_t width) const {
  const StreamLayout& layout = session_.layout_;
  std::vector<std::vector<double>> sums(tensors().size(), std::vector<double>(width, 0.0));
  std::vector<size_t> next(rows.size(), 0);
  for (size_t stage = 0; stage < layout.num_stages(); ++stage) {
    for (size_t rank = 0; rank < rows.size(); ++rank) {
      for (const StreamRange& range : layout.elements(stage, static_cast<int>(rank))) {
        for (size_t row = 0; row < rows_of(range); ++row) {
          for (size_t i = 0; i < width; ++i) {
            sums[range.tensor][i] += rows[rank].at(next[rank]++);
          }
        }
      }
    }
  }
  return sums;
}

void StreamEngine::sum_over_ranks(std::vector<int64_t>& counters) {
  ask({.kind = Kind::kSum, .counters = &counters});
}

}  // namespace fusegrid
