#include "merge/linear_reduction.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ops/zeros.h>

#include "comm/agreement.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/compat/compat.h"
#include "merge/piece_digests.h"

namespace fusegrid {
namespace {

constexpr double kUnit = 0x1p-40;    // of fixed point: terms are off by half of it, 4.5e-13
constexpr double kLargest = 0x1p20;  // of a sum; 2^60 units

// theta = base * theta_0 + sum_i experts[i] * theta_i
struct Coefficients {
  double base = 0;
  std::vector<double> experts;
};

using Rule = std::function<Coefficients(const CompatOptions&, size_t experts)>;

const std::map<std::string, Rule>& rules() {
  static const std::map<std::string, Rule> known_rules{
      {"simple_average",
       [](const CompatOptions&, size_t experts) {
         return Coefficients{0, std::vector(experts, 1 / static_cast<double>(experts))};
       }},
      {"weighted_average",
       [](const CompatOptions& options, size_t experts) {
         Coefficients all{0, options.weights(experts)};
         const double sum = std::accumulate(all.experts.begin(), all.experts.end(), 0.0);
         for (double& weight : all.experts) {
           weight /= options.flag("normalize") ? sum : 1;
         }
         return all;
       }},
      {"task_arithmetic",
       [](const CompatOptions& options, size_t experts) {
         Coefficients all{1, options.weights(experts)};
         for (double& weight : all.experts) {
           weight *= options.number("scale");
           all.base -= weight;
         }
         return all;
       }},
  };
  return known_rules;
}

// What one rank holds and does.
class Reduction {
 public:
  Reduction(const MergePlan& plan, const StreamLayout& layout, Collectives& group, StreamSink& sink)
      : plan_(plan),
        layout_(layout),
        group_(group),
        sink_(sink),
        sources_(plan.models.sources()),
        piece_(piece_elements(plan.spec.device, group.size())),
        block_(piece_ * group.size()) {
    for (const MergeMethod& call : plan.spec.methods) {
      const Coefficients of =
          rules().at(call.name)(CompatOptions(call.name, call.parameters), plan.spec.experts.size());
      auto& all = coefficients_.emplace_back(of.experts);
      if (plan.models.base != nullptr) {
        all.insert(all.begin(), of.base);
      }
    }
    find_own_models();
    on_all_ranks(group_, [&] { open_buffers(); });
    if (!plan_.spec.device.is_cpu() && group_.size() > 1) {
      device_group_ = nccl_collectives_of(group_, plan_.spec.device.index());
    }
  }

  void run(const std::function<void(double share)>& progress) {
    std::vector<size_t> stages;
    for (size_t stage = 0; stage < layout_.num_stages(); ++stage) {
      for (size_t output = 0; output < plan_.outputs.size(); ++output) {
        if (!sink_.is_finished(output, stage)) {
          open_[stage].push_back(output);
        }
      }
      if (open_.contains(stage)) {
        stages.push_back(stage);
      }
    }
    for (const auto& wave : layout_.waves(stages)) {
      run_wave(wave);
      progress(static_cast<double>(wave.back() + 1) / static_cast<double>(layout_.num_stages()));
    }
    on_all_ranks(group_, [&] {
      for (const size_t source : own_) {
        sources_[source]->check_unchanged();
      }
    });
  }

  StreamStats stats() const {
    return {.passes = 1,
            .bytes_read = reader_->bytes_read(),
            .bytes_written = writer_->bytes_written(),
            .buffer_bytes = reader_->buffer_bytes() + writer_->buffer_bytes() +
                            (plan_.spec.device.is_cpu() ? arithmetic_bytes() : 0)};
  }

 private:
  // What a rank writes of a block: as much as fills the device, and whole pieces of digests.
  static int64_t piece_elements(at::Device device, int ranks) {
    const int64_t share = slice_elements(device) / ranks / kDigestElements * kDigestElements;
    return std::max(kDigestElements, share);
  }

  void find_own_models() {
    const size_t first = plan_.models.base != nullptr ? 1 : 0;
    const auto& holders = plan_.inputs.holders;
    for (size_t source = 0; source < sources_.size(); ++source) {
      const int holder = source < first || holders.empty() ? static_cast<int>(source) % group_.size()
                                                           : holders[source - first];
      if (holder == group_.rank()) {
        own_.push_back(source);
      }
    }
  }

  void open_buffers() {
    StreamBuffers buffers = stream_buffers(plan_.models, plan_.outputs.size(),
                                           {.memory_limit_bytes = plan_.spec.memory_limit_bytes,
                                            .threads = plan_.spec.threads,
                                            .device = plan_.spec.device});
    buffers.reader.range_elements = block_;
    std::vector<const ModelSource*> own;
    for (const size_t source : own_) {
      own.push_back(sources_[source]);
    }
    reader_ = std::make_unique<StreamReader>(own, plan_.models.tensors, buffers.reader);
    writer_ = std::make_unique<StreamWriter>(sink_, buffers.writer);
  }

  // float32 of every model, of the terms of one, and the sum.
  int64_t arithmetic_bytes() const {
    return block_ *
           (static_cast<int64_t>(own_.size() * sizeof(float)) + 3 * static_cast<int64_t>(sizeof(int64_t)));
  }

  void run_wave(const std::vector<size_t>& stages) {
    std::vector<StagePieces> pieces;
    for (const size_t stage : stages) {
      pieces.push_back(pieces_of(stage));
    }
    const auto ranges = taken_in_turn(pieces);
    start_reading(ranges);
    for (const StreamRange& range : ranges) {
      reduce_block(range);
    }
    std::exception_ptr error = last_error_;
    try {
      writer_->flush();
    } catch (...) {
      error = std::current_exception();
    }
    agree(group_, error);
    for (const size_t stage : stages) {
      if (sink_.wants_inputs(stage)) {
        sink_.finish_inputs(stage);
      }
      for (const size_t output : open_.at(stage)) {
        sink_.finish(output, stage);
      }
    }
  }

  // The whole stage, of whatever rank it would be: every rank adds its models everywhere.
  StagePieces pieces_of(size_t stage) const {
    std::vector<size_t> tensors;
    for (int rank = 0; rank < layout_.num_ranks(); ++rank) {
      const auto& part = layout_.whole(stage, rank);
      tensors.insert(tensors.end(), part.begin(), part.end());
    }
    std::sort(tensors.begin(), tensors.end());
    StagePieces pieces;
    for (const size_t tensor : tensors) {
      const int64_t numel = plan_.models.tensors[tensor].numel();
      for (int64_t begin = 0; begin < numel; begin += block_) {
        pieces.push_back({{tensor, begin, std::min(block_, numel - begin)}});
      }
    }
    return pieces;
  }

  void start_reading(const std::vector<StreamRange>& ranges) {
    reader_->start(ranges, [this](size_t i, const StreamRange& range, const void* bytes, int64_t non_finite) {
      if (sink_.wants_inputs(layout_.stage_of(range.tensor))) {
        sink_.see_input(own_[i], range, bytes, non_finite);
      }
    });
  }

  // The last element of what is reduced counts the ranks that failed, so that no rank waits for another.
  void reduce_block(const StreamRange& range) {
    std::exception_ptr error = last_error_;
    Models models;
    try {
      if (!error) {
        models = read();
      }
    } catch (...) {
      error = std::current_exception();
    }
    for (const size_t output : open_.at(layout_.stage_of(range.tensor))) {
      const size_t method = plan_.outputs[output].method;
      at::Tensor sum = at::zeros({range.count + 1}, at::TensorOptions(plan_.spec.device).dtype(at::kLong));
      try {
        if (!error) {
          add_models(models, method, sum);
        }
      } catch (...) {
        error = std::current_exception();
      }
      if (error) {
        sum.select(0, range.count).fill_(1);
      }
      (device_group_ ? *device_group_ : group_).all_reduce_sum(sum);
      if (sum.select(0, range.count).item<double>() > 0) {
        agree(group_, error ? error : out_of_range(models, method, range));
      }
      try {
        write(output, range, sum);
      } catch (...) {
        error = std::current_exception();  // told with the next block, or behind the last
      }
    }
    last_error_ = error;
  }

  // A block of this rank's models.
  struct Models {
    std::vector<at::Tensor> values;   // float32
    std::vector<at::Tensor> largest;  // of each, absolute; float64, or NaN where it has one
  };

  Models read() {
    Models models;
    for (const at::Tensor& values : reader_->next()) {
      models.values.push_back(values.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true));
      if (reader_->has_non_finite()) {
        models.values.back().nan_to_num_(0, 0, 0);  // the sink refuses it when all of the stage is read
      }
      models.largest.push_back(models.values.back().abs().amax().to(at::kDouble));
    }
    reader_->release();
    return models;
  }

  void add_models(const Models& models, size_t method, at::Tensor& sum) const {
    const int64_t count = sum.numel() - 1;
    at::Tensor total = sum.narrow(0, 0, count);
    at::Tensor wrong = sum.select(0, count);
    for (size_t i = 0; i < models.values.size(); ++i) {
      const double coefficient = coefficients_[method][own_[i]];
      total.add_(models.values[i].to(at::kDouble).mul_(coefficient).mul_(1 / kUnit).round_().to(at::kLong));
      wrong.add_(exceeds(models.largest[i], coefficient));
    }
  }

  double largest_term() const { return kLargest / static_cast<double>(sources_.size()); }

  // Also NaN.
  at::Tensor exceeds(const at::Tensor& largest, double coefficient) const {
    return largest.mul(std::abs(coefficient)).le(largest_term()).logical_not();
  }

  // The error of this rank, if it has one.
  std::exception_ptr out_of_range(const Models& models, size_t method, const StreamRange& range) const {
    for (size_t i = 0; i < models.largest.size(); ++i) {
      if (exceeds(models.largest[i], coefficients_[method][own_[i]]).item<bool>()) {
        return std::make_exception_ptr(
            DataError("fixed point holds numbers up to " + number_text(largest_term()) + ", but tensor '" +
                      plan_.models.tensors[range.tensor].name + "' of '" + sources_[own_[i]]->name() +
                      "' has a larger one, or NaN; choose --reduction ordered"));
      }
    }
    return nullptr;
  }

  // This rank's piece of the block.
  void write(size_t output, const StreamRange& range, const at::Tensor& sum) {
    const int64_t begin = std::min(piece_ * group_.rank(), range.count);
    const int64_t count = std::min(piece_, range.count - begin);
    if (count <= 0) {
      return;
    }
    const at::Tensor values = sum.narrow(0, begin, count).to(at::kDouble).mul_(kUnit).to(at::kFloat);
    writer_->write({output, layout_.stage_of(range.tensor), plan_.models.tensors[range.tensor].dtype},
                   {range.tensor, range.begin + begin, count}, values);
  }

  const MergePlan& plan_;
  const StreamLayout& layout_;
  Collectives& group_;
  StreamSink& sink_;
  const std::vector<const ModelSource*> sources_;
  const int64_t piece_;  // elements of a block that a rank writes
  const int64_t block_;
  std::vector<std::vector<double>> coefficients_;  // [method][source]
  std::vector<size_t> own_;                        // sources that this rank adds
  std::unique_ptr<StreamReader> reader_;           // of those
  std::unique_ptr<StreamWriter> writer_;
  std::unique_ptr<Collectives> device_group_;   // the same ranks, for tensors on GPUs
  std::map<size_t, std::vector<size_t>> open_;  // [stage]: outputs that still need it
  std::exception_ptr last_error_;
};

}  // namespace

void check_linear_reduction(const MergeSpec& spec) {
  for (const MergeMethod& call : spec.methods) {
    if (!rules().contains(call.name)) {
      std::vector<std::string> names;
      for (const auto& [name, rule] : rules()) {
        names.push_back(name);
      }
      throw ConfigError("--reduction all_reduce adds up weighted models, which method '" + call.name +
                        "' is not; choose --reduction ordered, or one of: " + join(names, ", "));
    }
  }
  if (spec.allow_non_finite) {
    throw ConfigError(
        "--reduction all_reduce adds up finite numbers alone, so --allow-non-finite needs --reduction "
        "ordered; choose that, or leave the option out");
  }
  if (spec.precision != MergePrecision::kFloat32) {
    throw ConfigError("--reduction all_reduce needs --precision fp32; add it, or choose --reduction ordered");
  }
}

StreamStats reduce_linear(const MergePlan& plan, const StreamLayout& layout, Collectives& group,
                          StreamSink& sink, const std::function<void(double share)>& progress) {
  Reduction reduction(plan, layout, group, sink);
  reduction.run(progress);
  return reduction.stats();
}

}  // namespace fusegrid
