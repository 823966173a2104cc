#include "merge/linear_reduction.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "comm/agreement.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/compat.h"
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
  static const std::map<std::string, Rule> kRules{
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
  return kRules;
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
        exact_(plan.spec.reduction == Reduce::kAllReduce),
        block_(kDigestElements * group.size()) {
    for (const MergeMethod& call : plan.spec.methods) {
      const Coefficients of =
          rules().at(call.name)(CompatOptions(call.name, call.parameters), plan.spec.experts.size());
      auto& all = coefficients_.emplace_back(of.experts);
      if (plan.models.base != nullptr) {
        all.insert(all.begin(), of.base);
      }
    }
    find_own_models();
  }

  void run_stage(size_t stage) {
    open_.clear();
    for (size_t output = 0; output < plan_.outputs.size(); ++output) {
      if (!sink_.is_finished(output, stage)) {
        open_.push_back(output);
      }
    }
    if (open_.empty()) {
      return;
    }
    // the whole stage, of whatever rank it would be: every rank adds its models everywhere
    for (const size_t tensor : tensors_of(stage)) {
      const int64_t numel = plan_.models.tensors[tensor].numel();
      for (int64_t begin = 0; begin < numel; begin += block_) {
        reduce_block(stage, {tensor, begin, std::min(block_, numel - begin)});
      }
    }
    if (sink_.wants_inputs(stage)) {
      sink_.finish_inputs(stage);
    }
    for (const size_t output : open_) {
      sink_.finish(output, stage);
    }
  }

  StreamStats stats() const {
    return {.passes = 1,
            .bytes_read = bytes_read_,
            .bytes_written = bytes_written_,
            .buffer_bytes =
                block_ * static_cast<int64_t>(sizeof(double)) * (3 + static_cast<int64_t>(own_.size()))};
  }

  void check_unchanged() const {
    for (const size_t source : own_) {
      sources_[source]->check_unchanged();
    }
  }

 private:
  void find_own_models() {
    const size_t first = plan_.models.base != nullptr ? 1 : 0;
    for (size_t source = 0; source < sources_.size(); ++source) {
      const auto& holders = plan_.inputs.holders;
      const size_t expert = source - first;
      const int holder =
          source < first || holders.empty() ? static_cast<int>(source) % group_.size() : holders[expert];
      if (holder == group_.rank()) {
        own_.push_back(source);
      }
    }
    for (const ModelSource* source : sources_) {
      auto& dtypes = dtypes_.emplace_back();
      for (const TensorInfo& info : source->tensors()) {
        dtypes.emplace(info.name, info.dtype);
      }
    }
  }

  std::vector<size_t> tensors_of(size_t stage) const {
    std::vector<size_t> tensors;
    for (int rank = 0; rank < layout_.num_ranks(); ++rank) {
      const auto& part = layout_.whole(stage, rank);
      tensors.insert(tensors.end(), part.begin(), part.end());
    }
    std::sort(tensors.begin(), tensors.end());
    return tensors;
  }

  // The last element of what is reduced counts the ranks that failed, so that no rank waits for another.
  void reduce_block(size_t stage, const StreamRange& range) {
    std::exception_ptr error;
    std::vector<at::Tensor> models;
    try {
      models = read(stage, range);
    } catch (...) {
      error = std::current_exception();
    }
    for (const size_t output : open_) {
      at::Tensor sum = at::zeros({range.count + 1}, exact_ ? at::kLong : at::kFloat);
      try {
        if (!error) {
          add_models(models, plan_.outputs[output].method, range, sum);
        }
      } catch (...) {
        error = std::current_exception();
      }
      sum[range.count].fill_(error ? 1 : 0);
      group_.all_reduce_sum(sum);
      if (sum[range.count].item<double>() > 0) {
        agree(group_, error);
      }
      try {
        write(output, stage, range, sum);
      } catch (...) {
        error = std::current_exception();  // told with the next block, or by the last look
      }
    }
    last_error_ = error;
    if (range.begin + range.count == plan_.models.tensors[range.tensor].numel()) {
      agree(group_, last_error_);
    }
  }

  std::vector<at::Tensor> read(size_t stage, const StreamRange& range) {
    if (last_error_) {
      std::rethrow_exception(last_error_);
    }
    std::vector<at::Tensor> models;
    const std::string& name = plan_.models.tensors[range.tensor].name;
    for (const size_t source : own_) {
      const at::Tensor stored = at::empty({range.count}, dtypes_[source].at(name));
      sources_[source]->read_range(name, range.begin, range.count, stored.mutable_data_ptr());
      bytes_read_ += static_cast<int64_t>(stored.nbytes());
      if (sink_.wants_inputs(stage)) {
        sink_.see_input(source, range, stored.const_data_ptr());
      }
      models.push_back(stored.to(at::kFloat));
    }
    return models;
  }

  void add_models(const std::vector<at::Tensor>& models, size_t method, const StreamRange& range,
                  at::Tensor& sum) const {
    for (size_t i = 0; i < models.size(); ++i) {
      const double coefficient = coefficients_[method][own_[i]];
      if (!exact_) {
        sum.narrow(0, 0, range.count).add_(models[i], coefficient);
        continue;
      }
      const auto* values = models[i].const_data_ptr<float>();
      auto* units = sum.mutable_data_ptr<int64_t>();
      const double largest = kLargest / static_cast<double>(sources_.size());
      double worst = 0;
      for (int64_t e = 0; e < range.count; ++e) {
        const double term = coefficient * static_cast<double>(values[e]);
        worst = std::abs(term) <= worst ? worst : std::abs(term);  // NaN is taken over ...
        if (!(worst <= largest)) {                                 // ... and found
          fail(range, own_[i], largest);
        }
        units[e] += std::llrint(term / kUnit);
      }
    }
  }

  [[noreturn]] void fail(const StreamRange& range, size_t source, double largest) const {
    throw DataError("fixed point holds numbers up to " + number_text(largest) + ", but tensor '" +
                    plan_.models.tensors[range.tensor].name + "' of '" + sources_[source]->name() +
                    "' has a larger one, or NaN; choose --reduction ordered");
  }

  // This rank's piece of the block.
  void write(size_t output, size_t stage, const StreamRange& range, const at::Tensor& sum) {
    const int64_t begin = std::min(kDigestElements * group_.rank(), range.count);
    const int64_t count = std::min(kDigestElements, range.count - begin);
    if (count <= 0) {
      return;
    }
    const at::Tensor mine = sum.narrow(0, begin, count);
    const at::Tensor values = exact_ ? (mine.to(at::kDouble) * kUnit).to(at::kFloat) : mine;
    const at::Tensor stored = values.to(plan_.models.tensors[range.tensor].dtype);
    sink_.write(output, stage, {range.tensor, range.begin + begin, count}, stored.const_data_ptr());
    bytes_written_ += static_cast<int64_t>(stored.nbytes());
  }

  const MergePlan& plan_;
  const StreamLayout& layout_;
  Collectives& group_;
  StreamSink& sink_;
  std::vector<const ModelSource*> sources_;
  const bool exact_;
  const int64_t block_;
  std::vector<std::vector<double>> coefficients_;              // [method][source]
  std::vector<size_t> own_;                                    // sources that this rank adds
  std::vector<std::map<std::string, at::ScalarType>> dtypes_;  // per source, as stored
  std::vector<size_t> open_;                                   // outputs that the stage still needs
  std::exception_ptr last_error_;
  int64_t bytes_read_ = 0;
  int64_t bytes_written_ = 0;
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
  if (!spec.device.is_cpu() || spec.precision != Precision::kFloat32) {
    throw ConfigError(
        "--reduction all_reduce works with --device cpu and --precision fp32; add them, or choose "
        "--reduction ordered");
  }
}

StreamStats reduce_linear(const MergePlan& plan, const StreamLayout& layout, Collectives& group,
                          StreamSink& sink, const std::function<void(double share)>& progress) {
  Reduction reduction(plan, layout, group, sink);
  for (size_t stage = 0; stage < layout.num_stages(); ++stage) {
    reduction.run_stage(stage);
    progress(static_cast<double>(stage + 1) / static_cast<double>(layout.num_stages()));
  }
  std::exception_ptr error;
  try {
    reduction.check_unchanged();
  } catch (...) {
    error = std::current_exception();
  }
  agree(group, error);
  return reduction.stats();
}

}  // namespace fusegrid
