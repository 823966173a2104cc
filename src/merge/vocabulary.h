#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "checkpoint/model_source.h"

namespace fusegrid {

// The rows of the largest table of tokens; nothing where there is none.
std::optional<int64_t> vocabulary_rows(const ModelSource& model);

// How the vocabulary of an expert differs from the reference's: matrices whose numbers of rows alone differ
// (embeddings, heads) say how many tokens the two have, and a tensor that differs in just that (a head's bias, [1,
// tokens], a turned matrix, whole numbers) goes with them. So does a head's bias that is shorter than its matrix, whose
// rows are padded, in each model by another number.
class VocabularyDifference {
 public:
  VocabularyDifference(const ModelSource& reference, const ModelSource& expert);

  // The dimension in which these shapes of one tensor differ as the vocabularies do.
  std::optional<size_t> dimension(const TensorInfo& reference, const TensorInfo& expert) const;
  // For a message: what --allow-vocabulary-mismatch would do about a tensor, "" where it would do nothing.
  std::string hint(const TensorInfo& reference, const TensorInfo& expert) const;

 private:
  bool is_unpadded_bias(const TensorInfo& reference, const TensorInfo& expert) const;

  std::string reference_name_;
  int64_t reference_rows_, expert_rows_;         // of the largest embedding, padded
  std::set<std::pair<int64_t, int64_t>> sizes_;  // the reference's and the expert's
};

// `expert` as if its vocabulary were the reference's: tokens beyond are left out, those that it lacks are the
// reference's own. `reference` must outlive the result. `expert` itself where no vocabulary differs.
std::unique_ptr<ModelSource> with_vocabulary_of(const ModelSource& reference,
                                                std::unique_ptr<ModelSource> expert);

}  // namespace fusegrid
