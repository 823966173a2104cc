#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/model_source.h"
#include "fusion/engines/stream_models.h"
#include "merge/aligned_vocabulary.h"
#include "merge/local_inputs.h"
#include "merge/spec.h"

namespace fusegrid {

// The checkpoints of a merge, open and found to fit each other: all have the tensors that the reference has, but for
// buffers (checkpoint/buffers.h), which nobody reads but the reference's.
struct MergeInputs {
  std::unique_ptr<ModelSource> base;  // null where none was given
  std::vector<std::unique_ptr<ModelSource>> experts;
  // The model whose names, shapes, dtypes, files, buffers and configuration the output has: the base, or else the first
  // expert.
  const ModelSource& reference() const { return base ? *base : *experts.front(); }
  std::vector<std::string> notes;  // what a user should hear though the merge goes on
  nlohmann::json
      config;  // the reference's config.json; not tied where the result is not, with its vocabulary
  std::filesystem::path folder;        // the reference's, with its tokenizer and the like
  bool has_weight_files = true;        // that folder's weight files are the reference's
  std::optional<OutputTokens> tokens;  // where the result has a vocabulary of its own
  std::vector<int> holders;            // per expert the first rank that has it; none where all ranks have all
  // What tells a later run that the inputs are the same: path, size and time of every file.
  nlohmann::json stamps;

  // The base is left out where no method needs it.
  StreamModels models(bool with_base, std::optional<at::ScalarType> dtype) const;
};

// Opens and checks everything that can be known before a weight is read. Throws ConfigError (missing, extra or
// differently shaped tensors, integers against floats, complex numbers, an expert given twice), DataError, IoError.
// local: where the experts come from instead of their folders; must outlive the result.
MergeInputs open_inputs(const MergeSpec& spec, const LocalInputs* local = nullptr);

// What tells a later run that a model is the same: what it is made of, and size and time of every file of its folders.
nlohmann::json stamp_of(const std::filesystem::path& model);

}  // namespace fusegrid
