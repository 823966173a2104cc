#include "models/tower_readout.h"

#include <mutex>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/stack.h>
#include <c10/util/intrusive_ptr.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "models/unit_rows.h"

namespace fusegrid {
namespace {

constexpr auto kScale = "logit_scale";

at::Tensor in_wide(const at::Tensor& features) {
  return features.to(at::promote_types(features.scalar_type(), at::kFloat));
}

// Which tensors a model had, and in which state, without keeping them alive.
class ModelMark {
 public:
  explicit ModelMark(const Weights& model) {
    for (const auto& [name, tensor] : model) {
      tensors_.emplace_back(tensor.getIntrusivePtr());
      versions_.push_back(static_cast<int64_t>(tensor._version()));
    }
  }
  // Whether it is of these very tensors. A tensor that is gone is no other's equal: its mark holds its address.
  bool is_of(const Weights& model) const {
    if (model.size() != tensors_.size()) {
      return false;
    }
    size_t i = 0;
    for (const auto& [name, tensor] : model) {
      if (tensors_[i]._unsafe_get_target() != tensor.unsafeGetTensorImpl() ||
          versions_[i] != static_cast<int64_t>(tensor._version())) {
        return false;
      }
      ++i;
    }
    return true;
  }
  bool is_gone() const {
    for (const auto& tensor : tensors_) {
      if (tensor.expired()) {
        return true;
      }
    }
    return false;
  }

 private:
  std::vector<c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>> tensors_;
  std::vector<int64_t> versions_;
};

class PromptReadout final : public Readout {
 public:
  PromptReadout(std::shared_ptr<const Architecture> architecture, Prompts prompts)
      : architecture_(std::move(architecture)), prompts_(std::move(prompts)) {}

  Pooling pooling() const override { return Pooling::kFirst; }
  int64_t features() const override { return architecture_->feature_size(); }
  int64_t outputs() const override { return prompts_.tokens.size(0); }
  at::Tensor operator()(const Weights& model, const at::Tensor& features) const override {
    if (model.empty()) {
      throw ConfigError(
          "zero-shot heads are made by the tower of texts of one model, but these features are of several; "
          "leave the method out");
    }
    const at::Tensor x = unit_rows(in_wide(features));
    const at::Tensor scale = model.at(kScale).to(x.scalar_type()).exp();
    return scale * at::linear(x, rows_of(model).to(x.scalar_type()));
  }
  Weights weights() const override {
    return {{"prompts", prompts_.tokens}, {"prompt_lengths", prompts_.lengths}};
  }
  std::shared_ptr<const Readout> to(at::Device device) const override {
    return prompt_readout(architecture_, {prompts_.tokens.to(device), prompts_.lengths.to(device)});
  }

 private:
  // float [classes, features()], of unit length.
  at::Tensor rows_of(const Weights& model) const;
  // Rows of one width go through the model together, whatever else there is: their bits are theirs alone.
  at::Tensor made_rows(const Weights& model) const;

  std::shared_ptr<const Architecture> architecture_;
  Prompts prompts_;
  mutable std::mutex mutex_;
  mutable std::vector<std::pair<ModelMark, at::Tensor>> kept_;
};

bool asks_for_gradients(const Weights& model) {
  bool asks = false;
  for (const auto& [name, tensor] : model) {
    asks = asks || tensor.requires_grad();
  }
  return asks && at::GradMode::is_enabled();
}

at::Tensor PromptReadout::rows_of(const Weights& model) const {
  if (asks_for_gradients(model)) {
    return made_rows(model);
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(kept_, [](const auto& kept) { return kept.first.is_gone(); });
  for (const auto& [mark, rows] : kept_) {
    if (mark.is_of(model)) {
      return rows;
    }
  }
  const at::NoGradGuard no_grad;
  return kept_.emplace_back(ModelMark(model), made_rows(model)).second;
}

at::Tensor PromptReadout::made_rows(const Weights& model) const {
  Inputs all;
  all.tokens = prompts_.tokens.flatten(0, 1);
  all.lengths = prompts_.lengths.flatten();
  std::vector<at::Tensor> made, places;
  for_each_batch(all, all.size(), [&](const Inputs& part, const at::Tensor& rows) {
    Inputs inputs = part;
    const int64_t width = std::min(inputs.tokens.size(1), architecture_->input().positions);
    inputs.tokens = inputs.tokens.narrow(1, 0, width);
    made.push_back(unit_rows(in_wide(architecture_->features(model, inputs, pooling()))));
    places.push_back(rows);
  });
  const at::Tensor order = concatenate(places).argsort().to(all.tokens.device());
  const at::Tensor rows = concatenate(made).index_select(0, order);
  return unit_rows(rows.view({outputs(), -1, rows.size(1)}).mean(1));
}

class PairReadout final : public Readout {
 public:
  explicit PairReadout(int64_t features) : features_(features) {}

  Pooling pooling() const override { return Pooling::kFirst; }
  int64_t features() const override { return features_; }
  int64_t outputs() const override { return 2; }
  at::Tensor operator()(const Weights& model, const at::Tensor& features) const override {
    FUSEGRID_ASSERT(features.dim() == 3 && features.size(1) == 2, "features [n, 2, size] of pairs");
    const at::Tensor x = in_wide(features);
    const at::Tensor of_images = unit_rows(x.select(1, 0));
    const at::Tensor scale =
        model.empty() ? at::ones({}, x.options()) : model.at(kScale).to(x.scalar_type()).exp();
    return at::stack({scale * of_images, unit_rows(x.select(1, 1))}, 1);
  }
  // What tells it apart from others in a heads file.
  Weights weights() const override { return {{"pairs", at::ones({1}, at::kFloat)}}; }
  std::shared_ptr<const Readout> to(at::Device) const override { return pair_readout(features_); }

 private:
  int64_t features_;
};

}  // namespace

std::shared_ptr<const Readout> prompt_readout(std::shared_ptr<const Architecture> architecture,
                                              Prompts prompts) {
  FUSEGRID_ASSERT(prompts.tokens.dim() == 3 && prompts.lengths.dim() == 2, "prompts of classes");
  return std::make_shared<PromptReadout>(std::move(architecture), std::move(prompts));
}

std::shared_ptr<const Readout> pair_readout(int64_t features) {
  return std::make_shared<PairReadout>(features);
}

}  // namespace fusegrid
