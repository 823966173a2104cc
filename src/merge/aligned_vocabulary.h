// Models whose tokenizers differ, with their embeddings and heads in one vocabulary: rows belong together where their
// tokens have the same text. The rules are those of mergekit 0.1.5 (`tokenizer`, `tokenizer_source`).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/model_source.h"
#include "merge/spec.h"

namespace fusegrid {

// The vocabulary of a result.
struct OutputTokens {
  std::vector<std::string> tokens;    // by id
  std::filesystem::path folder;       // of the model whose tokenizer it is
  std::vector<nlohmann::json> added;  // tokens that this tokenizer lacks, as tokenizer.json has them
  int64_t rows = 0;                   // of its matrices
};

// The tokens of one model; or those of the first and behind them, in the order of the models and of their ids, those of
// the others: first the plain ones, then those that were added to a tokenizer. Last come tokens of rules that no
// tokenizer has. Throws ConfigError where a tokenizer is missing, or its ids have gaps.
OutputTokens output_tokens(const VocabularySpec& spec, HfFolderOptions options);

// One model of a merge, as the alignment needs it.
struct AlignedModel {
  std::unique_ptr<ModelSource>* source = nullptr;  // is replaced by a view of itself
  std::vector<std::filesystem::path>
      folders;  // the first one's tokens number what comes before the layers, the
                // last one's what comes behind them
};

// Gives all matrices that are numbered by tokens (embeddings, output heads and their biases) the rows of `tokens`.
// A model's row of a token is its own where it has the token, else, in this order,
//   what a rule says;
//   zero, where no model has it;
//   that of the only model that has it;
//   the base's, where that has it;
//   the mean of those that have it.
// Every operation rounds to the dtype that the tensor's models promote to, or to MergeSpec::model_dtype.
//   models  of `spec`: the base, where there is one, and the experts
//   Throws  ConfigError where a tokenizer has more tokens than its model rows, or a rule names what is not there
void align_vocabularies(const MergeSpec& spec, const OutputTokens& tokens,
                        const std::vector<AlignedModel>& models);

}  // namespace fusegrid
