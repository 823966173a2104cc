#include "merge/vocabulary.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "checkpoint/buffers.h"
#include "checkpoint/tied_head.h"
#include "core/text.h"
#include "merge/tied.h"

namespace fusegrid {
namespace {

bool only_rows_differ(const TensorInfo& a, const TensorInfo& b) {
  return is_merged(a) && is_merged(b) && a.shape.size() == 2 && b.shape.size() == 2 &&
         a.shape[0] != b.shape[0] && a.shape[1] == b.shape[1];
}

bool is_head_bias(const std::string& tensor) {
  return is_output_bias(tensor) || tensor.ends_with("final_logits_bias") ||
         tensor.ends_with("predictions.bias");
}

class WithVocabulary final : public ModelSource {
 public:
  WithVocabulary(const ModelSource& reference, std::unique_ptr<ModelSource> expert)
      : reference_(reference), expert_(std::move(expert)), tensors_(expert_->tensors()) {
    const VocabularyDifference difference(reference, *expert_);
    for (TensorInfo& info : tensors_) {
      const TensorInfo* const ours = find_tensor(reference, info.name);
      if (const auto dimension = ours != nullptr ? difference.dimension(*ours, info) : std::nullopt) {
        const int64_t inner = std::accumulate(info.shape.begin() + static_cast<int64_t>(*dimension) + 1,
                                              info.shape.end(), int64_t{1}, std::multiplies<>());
        changed_.emplace(info.name, Changed{info.shape[*dimension] * inner, ours->shape[*dimension] * inner,
                                            ours->dtype, info.dtype});
        info.shape = ours->shape;
      }
    }
  }
  bool changes_anything() const { return !changed_.empty(); }
  std::unique_ptr<ModelSource> release() { return std::move(expert_); }

  std::string name() const override { return expert_->name(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return expert_->config(); }
  std::optional<LowRankFactors> factors(const std::string& name) const override {
    return changed_.contains(name) ? std::nullopt : expert_->factors(name);
  }
  void check_unchanged() const override { expert_->check_unchanged(); }

  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const auto it = changed_.find(name);
    if (it == changed_.end()) {
      expert_->read_range(name, begin, count, destination);
      return;
    }
    const Changed& changed = it->second;
    auto* to = static_cast<char*>(destination);
    for (const int64_t end = begin + count; begin < end;) {
      const int64_t block = begin / changed.block;
      const int64_t inside = begin % changed.block;
      const bool own = inside < changed.own_block;
      const int64_t limit = own ? std::min(changed.own_block, changed.block) : changed.block;
      const int64_t part = std::min(limit - inside, end - begin);
      if (own) {
        expert_->read_range(name, block * changed.own_block + inside, part, to);
      } else {
        read_reference(name, changed, begin, part, to);
      }
      begin += part;
      to += part * static_cast<int64_t>(c10::elementSize(changed.dtype));
    }
  }

 private:
  // Of a tensor, in elements: what lies between two steps of the dimensions before that of the vocabulary.
  struct Changed {
    int64_t own_block, block;
    at::ScalarType reference_dtype, dtype;
  };

  void read_reference(const std::string& name, const Changed& changed, int64_t begin, int64_t count,
                      void* destination) const {
    at::Tensor elements = at::empty({count}, changed.reference_dtype);
    reference_.read_range(name, begin, count, elements.mutable_data_ptr());
    at::from_blob(destination, {count}, at::TensorOptions().dtype(changed.dtype)).copy_(elements);
  }

  const ModelSource& reference_;
  std::unique_ptr<ModelSource> expert_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, Changed> changed_;
};

}  // namespace

std::optional<int64_t> vocabulary_rows(const ModelSource& model) {
  std::optional<int64_t> rows;
  for (const TensorInfo& info : model.tensors()) {
    if (is_token_embedding(info.name) && info.shape.size() == 2) {
      rows = std::max(rows.value_or(0), info.shape[0]);
    }
  }
  return rows;
}

VocabularyDifference::VocabularyDifference(const ModelSource& reference, const ModelSource& expert)
    : reference_name_(reference.name()),
      reference_rows_(vocabulary_rows(reference).value_or(0)),
      expert_rows_(vocabulary_rows(expert).value_or(0)) {
  for (const TensorInfo& info : expert.tensors()) {
    const TensorInfo* const ours = find_tensor(reference, info.name);
    if (ours != nullptr && only_rows_differ(*ours, info)) {
      sizes_.emplace(ours->shape[0], info.shape[0]);
    }
  }
}

bool VocabularyDifference::is_unpadded_bias(const TensorInfo& reference, const TensorInfo& expert) const {
  const auto is_padded_to = [](int64_t tokens, int64_t rows) { return tokens <= rows && 2 * tokens > rows; };
  return is_head_bias(reference.name) && reference.numel() == reference.shape.back() &&
         expert.numel() == expert.shape.back() && is_padded_to(reference.numel(), reference_rows_) &&
         is_padded_to(expert.numel(), expert_rows_);
}

std::optional<size_t> VocabularyDifference::dimension(const TensorInfo& reference,
                                                      const TensorInfo& expert) const {
  std::optional<size_t> found;
  if (reference.shape.size() != expert.shape.size()) {
    return found;
  }
  for (size_t i = 0; i < reference.shape.size(); ++i) {
    if (reference.shape[i] != expert.shape[i]) {
      if (found ||
          (!sizes_.contains({reference.shape[i], expert.shape[i]}) && !is_unpadded_bias(reference, expert))) {
        return std::nullopt;
      }
      found = i;
    }
  }
  return found;
}

std::string VocabularyDifference::hint(const TensorInfo& reference, const TensorInfo& expert) const {
  const auto differs = dimension(reference, expert);
  if (!differs) {
    return "";
  }
  const int64_t ours = reference.shape[*differs];
  const int64_t theirs = expert.shape[*differs];
  const int64_t common = std::min(ours, theirs);
  return ". If this is a vocabulary, --allow-vocabulary-mismatch merges the first " + number_text(common) +
         " rows and " +
         (theirs > common ? "leaves out the expert's other " + number_text(theirs - common)
                          : "takes the other " + number_text(ours - common) + " as they are in '" +
                                reference_name_ + "'");
}

std::unique_ptr<ModelSource> with_vocabulary_of(const ModelSource& reference,
                                                std::unique_ptr<ModelSource> expert) {
  auto changed = std::make_unique<WithVocabulary>(reference, std::move(expert));
  if (!changed->changes_anything()) {
    return changed->release();
  }
  return changed;
}

}  // namespace fusegrid
