#include <algorithm>
#include <set>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "comm/agreement.h"
#include "core/concatenate.h"
#include "fusion/engines/non_finite_entries.h"
#include "fusion/engines/stream_engine.h"

namespace fusegrid {
namespace {

using Kind = StreamRequest::Kind;

// Bytes of inputs between two exchanges of errors: a rank that fails is noticed within about a second.
constexpr int64_t kSegmentBytes = int64_t{1} << 30;

thread_local bool inside_pass = false;

bool is_read_by_loops(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

// Ends the threads of the configurations whatever happens to the driving one.
struct Joiner {
  StreamRounds& rounds;
  std::vector<std::thread> threads;
  ~Joiner() {
    rounds.cancel();
    for (auto& thread : threads) {
      thread.join();
    }
  }
};

}  // namespace

StreamSession::StreamSession(const StreamModels& models, const StreamLayout& layout, Collectives& group,
                             StreamSink& sink, StreamOptions options)
    : models_(models), layout_(layout), group_(group), sink_(sink), options_(std::move(options)) {
  for (const TensorInfo& info : models_.tensors) {
    global_begin_.push_back(elements_);
    elements_ += info.numel();
  }
}

void StreamSession::run(const std::vector<StreamConfiguration>& configurations) {
  on_all_ranks(group_, [&] {
    for (const auto& configuration : configurations) {
      for (size_t i = 0; i < configuration.outputs; ++i) {
        ++parts_of_output_[configuration.first_output + i];
      }
    }
    buffers_ = stream_buffers(models_, parts_of_output_.size(), options_);
    const auto sources = models_.sources();
    buffers_.reader.keep_bytes = options_.keep_bytes;
    reader_ = std::make_unique<StreamReader>(sources, models_.tensors, buffers_.reader);
    writer_ = std::make_unique<StreamWriter>(sink_, buffers_.writer);
    for (size_t i = 0; i < sources.size(); ++i) {
      blocks_.push_back(at::empty({std::min(slice_elements(options_.device), buffers_.reader.range_elements)},
                                  at::TensorOptions(options_.device).dtype(at::kFloat)));
    }
  });

  StreamRounds rounds(configurations.size());
  Joiner joiner{rounds, {}};
  for (size_t i = 0; i < configurations.size(); ++i) {
    joiner.threads.emplace_back([&, i] {
      const at::NoGradGuard no_gradients;
      std::exception_ptr failure;
      try {
        StreamEngine engine(*this, rounds, i, configurations[i]);
        configurations[i].fuse(engine);
      } catch (const StreamRounds::Cancelled&) {
      } catch (...) {
        failure = std::current_exception();
      }
      rounds.leave(failure);
    });
  }
  drive(rounds);
}

void StreamSession::drive(StreamRounds& rounds) {
  const at::NoGradGuard no_gradients;
  while (true) {
    const auto round = rounds.wait();
    agree(group_, rounds.error());
    if (round.empty()) {
      return;
    }
    const auto of_kind = [&](Kind kind) {
      std::vector<StreamRequest*> requests;
      std::copy_if(round.begin(), round.end(), std::back_inserter(requests),
                   [&](const StreamRequest* request) { return request->kind == kind; });
      return requests;
    };
    // Sums and samples first and alone: the configurations behind them then come to the next pass together with the
    // others.
    if (const auto sums = of_kind(Kind::kSum); !sums.empty()) {
      for (StreamRequest* sum : sums) {
        group_.all_reduce_sum(std::span<int64_t>(*sum->counters));
      }
      rounds.done(sums);
      continue;
    }
    if (const auto samples = of_kind(Kind::kSample); !samples.empty()) {
      run_pass(Kind::kSample, samples);
      rounds.done(samples);
      continue;
    }
    for (const Kind kind : {Kind::kElements, Kind::kTensors}) {
      if (const auto requests = of_kind(kind); !requests.empty()) {
        run_pass(kind, requests);
      }
    }
    rounds.done(round);
  }
}

void StreamSession::run_pass(Kind kind, const std::vector<StreamRequest*>& requests) {
  if (kind == Kind::kTensors) {
    check_whole_tensors_fit();
  }
  Wave active;
  std::vector<size_t> stages;
  for (size_t stage = 0; stage < layout_.num_stages(); ++stage) {
    auto those = active_requests(stage, requests);
    if (!those.empty()) {
      active.emplace(stage, std::move(those));
      stages.push_back(stage);
    }
  }
  for (const auto& together : layout_.waves(stages)) {
    Wave wave;
    for (const size_t stage : together) {
      wave.insert(active.extract(stage));
    }
    run_wave(kind, wave);
  }
  on_all_ranks(group_, [&] {
    for (const ModelSource* source : models_.sources()) {
      source->check_unchanged();
    }
  });
  passes_ += stages.empty() || kind == Kind::kSample ? 0 : 1;
  for (StreamRequest* request : requests) {
    if (request->after) {
      request->after();
    }
  }
}

// Reductions see every stage; what writes sees those that an earlier run has not finished.
std::vector<StreamRequest*> StreamSession::active_requests(
    size_t stage, const std::vector<StreamRequest*>& requests) const {
  std::vector<StreamRequest*> active;
  for (StreamRequest* request : requests) {
    bool needed = request->outputs == 0;
    for (size_t i = 0; i < request->outputs; ++i) {
      needed |= !sink_.is_finished(request->first_output + i, stage);
    }
    if (needed) {
      active.push_back(request);
    }
  }
  return active;
}

StagePieces StreamSession::pieces_of(Kind kind, size_t stage) const {
  const int64_t most = buffers_.reader.range_elements;
  const auto cut = [&](const StreamRange& part) {
    std::vector<StreamRange> ranges;
    for (int64_t done = 0; done < part.count; done += most) {
      ranges.push_back({part.tensor, part.begin + done, std::min(most, part.count - done)});
    }
    return ranges;
  };
  const int64_t stride = sample_stride(elements_);
  const auto sampled = [&](const StreamRange& part) {
    const int64_t first = global_begin_[part.tensor];
    std::vector<StreamRange> ranges;
    for (const auto& [begin, count] : sampled_runs(first + part.begin, part.count, stride)) {
      ranges.push_back({part.tensor, begin - first, count});
    }
    return ranges;
  };
  const bool take_sample = kind == Kind::kSample && stride > 1;
  StagePieces pieces;
  if (kind == Kind::kTensors) {
    for (const size_t tensor : layout_.whole(stage, group_.rank())) {
      pieces.push_back(cut({tensor, 0, models_.tensors[tensor].numel()}));
    }
    return pieces;
  }
  for (const StreamRange& part : layout_.elements(stage, group_.rank())) {
    for (const StreamRange& range : take_sample ? sampled(part) : cut(part)) {
      pieces.push_back({range});
    }
  }
  return pieces;
}

void StreamSession::start_reading(Kind kind, const Wave& wave, const std::vector<StreamRange>& ranges) {
  std::set<size_t> shown;
  for (const auto& [stage, requests] : wave) {
    if (kind != Kind::kSample && sink_.wants_inputs(stage)) {
      shown.insert(stage);
    }
  }
  StreamReader::Observe observe;
  if (!shown.empty()) {
    observe = [this, shown](size_t source, const StreamRange& range, const void* bytes, int64_t non_finite) {
      if (shown.contains(layout_.stage_of(range.tensor))) {
        sink_.see_input(source, range, bytes, non_finite);
      }
    };
  }
  reader_->start(ranges, std::move(observe));
}

void StreamSession::run_wave(Kind kind, const Wave& wave) {
  std::vector<StagePieces> stages;
  for (const auto& [stage, requests] : wave) {
    stages.push_back(pieces_of(kind, stage));
  }
  // Each rank begins with another file, as writers of one file wait for each other.
  std::rotate(stages.begin(),
              stages.begin() + static_cast<int64_t>(stages.size()) * group_.rank() / group_.size(),
              stages.end());
  const auto ranges = taken_in_turn(stages);
  start_reading(kind, wave, ranges);
  int64_t elements = 0;
  for (const auto& [stage, requests] : wave) {
    elements += layout_.stage_elements(stage);
  }
  const int64_t bytes = elements * 2 * static_cast<int64_t>(models_.sources().size());
  const auto segments = static_cast<size_t>(bytes / kSegmentBytes / group_.size() + 1);
  const auto first = static_cast<double>(wave.begin()->first);
  for (size_t segment = 0; segment < segments; ++segment) {
    on_all_ranks(group_, [&] {
      for (size_t i = ranges.size() * segment / segments; i < ranges.size() * (segment + 1) / segments; ++i) {
        visit_range(kind, ranges[i], wave.at(layout_.stage_of(ranges[i].tensor)));
      }
      if (segment + 1 == segments) {
        writer_->flush();
      }
    });
    if (kind == Kind::kSample) {
      continue;
    }
    const double share = static_cast<double>(segment + 1) / static_cast<double>(segments);
    options_.progress((first + share * static_cast<double>(wave.size())) /
                      static_cast<double>(layout_.num_stages()));
  }
  if (kind == Kind::kSample) {
    return;
  }
  for (const auto& [stage, requests] : wave) {
    finish_stage(stage, requests);
  }
}

void StreamSession::finish_stage(size_t stage, const std::vector<StreamRequest*>& requests) {
  if (sink_.wants_inputs(stage)) {
    sink_.finish_inputs(stage);
  }
  for (const StreamRequest* request : requests) {
    for (size_t i = 0; i < request->outputs; ++i) {
      const size_t output = request->first_output + i;
      if (!sink_.is_finished(output, stage) && ++written_[{output, stage}] == parts_of_output_[output]) {
        sink_.finish(output, stage);
      }
    }
  }
}

void StreamSession::visit_range(Kind kind, const StreamRange& range,
                                const std::vector<StreamRequest*>& requests) {
  const auto stored = reader_->next();
  const bool next_of_tensor = kind == Kind::kTensors && range.begin > 0;
  has_non_finite_ = reader_->has_non_finite() || (next_of_tensor && has_non_finite_);
  if (kind == Kind::kTensors) {
    collect_tensor(range, stored, requests);
  } else {
    visit_blocks(range, stored, requests);
  }
  reader_->release();
}

void StreamSession::visit_blocks(const StreamRange& range, const std::vector<at::Tensor>& stored,
                                 const std::vector<StreamRequest*>& requests) {
  const int64_t most = slice_elements(options_.device);
  for (int64_t done = 0; done < range.count; done += most) {
    const int64_t count = std::min(most, range.count - done);
    std::vector<SliceBlock> blocks;
    for (size_t source = 0; source < stored.size(); ++source) {
      const at::Tensor part = count == range.count ? stored[source] : stored[source].narrow(0, done, count);
      SliceBlock block(part, blocks_[source]);
      // On GPUs converted here, once for all that read it; on CPUs what loops over chunks do not read, and float64,
      // which would else stand for arithmetic in it.
      const bool as_stored = part.is_cpu() && is_read_by_loops(part.scalar_type());
      blocks.push_back(as_stored ? block : SliceBlock(block.values()));
    }
    show(make_slice({range.tensor, range.begin + done, count}, std::move(blocks)), requests);
  }
}

void StreamSession::collect_tensor(const StreamRange& range, const std::vector<at::Tensor>& stored,
                                   const std::vector<StreamRequest*>& requests) {
  const TensorInfo& info = models_.tensors[range.tensor];
  if (range.begin == 0) {
    whole_.clear();
    for (size_t source = 0; source < stored.size(); ++source) {
      whole_.push_back(at::empty(info.shape, at::TensorOptions(options_.device).dtype(at::kFloat)));
    }
  }
  for (size_t source = 0; source < stored.size(); ++source) {
    whole_[source].view({-1}).narrow(0, range.begin, range.count).copy_(stored[source]);
  }
  if (range.begin + range.count == info.numel()) {
    show(make_slice({range.tensor, 0, info.numel()}, {whole_.begin(), whole_.end()}), requests);
    whole_.clear();
  }
}

Slice StreamSession::make_slice(const StreamRange& range, std::vector<SliceBlock> blocks) {
  Slice slice;
  slice.info = &models_.tensors[range.tensor];
  slice.tensor_index = range.tensor;
  slice.begin = range.begin;
  slice.global_begin = global_begin_[range.tensor] + range.begin;
  slice.count = range.count;
  slice.rounded_to = models_.rounded_to.empty() ? slice.info->dtype : models_.rounded_to[range.tensor];
  if (models_.base != nullptr) {
    slice.base_block = blocks.front();
    blocks.erase(blocks.begin());
  }
  slice.expert_blocks = std::move(blocks);
  slice.field_value = [this](const Slice& s, const Field& field) { return field_value(s, field); };
  slice.read_factors = [this, tensor = range.tensor](size_t expert) {
    auto factors = models_.experts[expert]->factors(models_.tensors[tensor].name);
    if (factors) {
      factors->b = factors->b.to(options_.device);
      factors->a = factors->a.to(options_.device);
    }
    return factors;
  };
  return slice;
}

void StreamSession::show(const Slice& slice, const std::vector<StreamRequest*>& requests) {
  fields_.clear();
  Slice without_base = slice;
  without_base.base_block = {};
  inside_pass = true;
  try {
    for (StreamRequest* request : requests) {
      if (!request->part->has(slice.tensor_index)) {
        continue;
      }
      const Slice& whole = request->with_base ? slice : without_base;
      if (request->part->experts.empty()) {
        show_to(*request, whole);
      } else {
        fields_.clear();  // of other experts
        show_to(*request, with_experts(whole, request->part->experts));
        fields_.clear();
      }
    }
  } catch (...) {
    inside_pass = false;
    throw;
  }
  inside_pass = false;
  options_.tick();
}

Slice StreamSession::with_experts(const Slice& slice, const std::vector<size_t>& experts) {
  Slice fewer = slice;
  fewer.expert_blocks.clear();
  for (const size_t expert : experts) {
    fewer.expert_blocks.push_back(slice.expert_blocks[expert]);
  }
  fewer.read_factors = [read = slice.read_factors, experts](size_t expert) { return read(experts[expert]); };
  return fewer;
}

void StreamSession::show_to(StreamRequest& request, const Slice& slice) {
  if (!has_non_finite_) {
    request.visit(slice);
    return;
  }
  const NonFiniteEntries entries(slice);
  fields_.clear();  // what is finite in the experts need not be in the base, which only some requests see
  marks_ = entries.marks;
  request.visit(entries.slice);
  marks_ = at::Tensor();
}

// A field is evaluated where it is used, and once for all configurations that use it. It sees the same blocks as in
// memory, also where the pass goes over whole tensors.
at::Tensor StreamSession::field_value(const Slice& slice, const Field& field) {
  const auto [entry, is_new] = fields_.try_emplace(field.key);
  if (!is_new) {
    return entry->second;
  }
  const int64_t most = slice_elements(options_.device);
  const SliceBlock& first = slice.expert_blocks.empty() ? slice.base_block : slice.expert_blocks.front();
  if (field.whole_tensors || (first.unread().dim() == 1 && slice.count <= most)) {
    return entry->second = field.value(slice);
  }
  std::vector<at::Tensor> parts;
  for (int64_t done = 0; done < slice.count; done += most) {
    Slice part = slice;
    part.begin += done;
    part.global_begin += done;
    part.count = std::min(most, slice.count - done);
    const auto cut = [&](const SliceBlock& whole) {
      return SliceBlock(whole.unread().view({-1}).narrow(0, done, part.count));
    };
    part.base_block = slice.base_block.defined() ? cut(slice.base_block) : slice.base_block;
    std::transform(slice.expert_blocks.begin(), slice.expert_blocks.end(), part.expert_blocks.begin(), cut);
    parts.push_back(field.value(part));
  }
  return entry->second = concatenate(parts).view(first.unread().sizes());
}

void StreamSession::write(size_t output, const Slice& slice, const at::Tensor& values) {
  FUSEGRID_ASSERT(values.numel() == slice.count, "a slice of " + std::to_string(slice.count) +
                                                     " elements became " + std::to_string(values.numel()));
  const size_t stage = layout_.stage_of(slice.tensor_index);
  if (!sink_.is_finished(output, stage)) {
    writer_->write({output, stage, slice.info->dtype}, {slice.tensor_index, slice.begin, slice.count},
                   marks_.defined() ? NonFiniteEntries::with_marks(values, marks_) : values);
  }
}

// The same on every rank, so that all of them throw.
void StreamSession::check_whole_tensors_fit() {
  whole_bytes_ = options_.device.is_cpu() ? whole_tensor_bytes(models_) : 0;
  const int64_t needed = buffers_.total_bytes + whole_bytes_;
  if (needed > options_.memory_limit_bytes) {
    throw AgreedError(
        ExitCode::kConfig,
        "this method looks at whole tensors, so --memory-limit must allow the largest tensor of every "
        "model: " +
            std::to_string((needed >> 20) + 1) + " MiB, but it is " +
            std::to_string(options_.memory_limit_bytes >> 20) + " MiB; raise it");
  }
}

StreamStats StreamSession::stats() const {
  return {.passes = passes_,
          .bytes_read = reader_ ? reader_->bytes_read() : 0,
          .bytes_written = writer_ ? writer_->bytes_written() : 0,
          .buffer_bytes = buffers_.total_bytes + whole_bytes_};
}

void StreamEngine::ask(StreamRequest request) {
  if (inside_pass) {
    throw AccessError("a pass was asked for inside a pass; compute what a field needs before its pass");
  }
  request.with_base = what_.with_base;
  request.part = &what_.part;
  rounds_.ask(configuration_, std::move(request));
}

}  // namespace fusegrid
