#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "checkpoint/hf_folder.h"
#include "core/params.h"

namespace fusegrid {

// One expert of a merge. Its name keys random numbers (DARE) and is the task of methods that yield a model per task.
struct MergeExpert {
  std::string name;
  std::filesystem::path path;
};

// Tensors of the result that are merged in their own way.
struct MergePart {
  std::set<std::string> tensors;  // by name; those that the result has not do not matter
  ParamText parameters;
  std::vector<size_t> experts = {};  // of MergeSpec::experts, in the order of the parameters; empty: all
};

struct MergeMethod {
  std::string name;
  ParamText parameters;  // as given
  // Where parameters differ by tensor: parts that share no tensor and together have all, in place of `parameters`. Only
  // with MergePrecision::kCompat, whose methods look at every tensor for itself.
  std::vector<MergePart> parts = {};
};

// Where the rows of a token come from in models that lack it.
struct TokenRule {
  enum class Kind { kZero, kModel, kTokenOfModel };
  std::string token;
  Kind kind = Kind::kZero;
  std::filesystem::path model;  // one of the merge's
  std::string other_token;      // of kTokenOfModel: its text there, or
  std::optional<int64_t> other_id;
  bool force = false;  // in models that have the token as well
  std::string origin;  // "file:line", for messages
};

// A vocabulary for the result, by the text of tokens: merge/aligned_vocabulary.h.
struct VocabularySpec {
  std::vector<std::filesystem::path> models;  // folders of all models
  std::optional<std::filesystem::path>
      model;  // whose tokenizer the result has; none: that of the first of `models`,
              // with the tokens of the others behind
  std::optional<std::filesystem::path> base;  // whose rows others take for tokens that they lack
  std::vector<TokenRule> rules;
  int64_t pad_to_multiple_of = 1;  // rows; those beyond the tokens are the mean of the others
};

// Which tensors' digests the manifest has.
enum class Digests { kAll, kOutputs, kNone };

// How a merge computes.
enum class MergePrecision {
  kFloat32,  // in float32, rounded to the output's dtype once
  kCompat,   // as mergekit 0.1.5 does: fusion/compat/compat.h
};

// Who adds up the models.
enum class Reduce {
  kOrdered,    // one rank for each element, in the order of the experts
  kAllReduce,  // every rank its own models, then an all-reduce in fixed point: merge/linear_reduction.h
};

// A component of a pipeline that is not merged: an expert's or, without one, the reference's.
struct KeptComponent {
  std::string component;
  std::string expert = {};
};

// What `fusegrid merge` is to do.
struct MergeSpec {
  std::optional<std::filesystem::path> base;
  std::vector<MergeExpert> experts;
  std::vector<MergeMethod> methods;
  std::filesystem::path out;
  // Of floating tensors; none: as the base (or first expert) has them or, with kCompat, what the models' promote to.
  std::optional<at::ScalarType> dtype;
  // With kCompat: what models are rounded to before they are merged, and what the arithmetic rounds to; none: what the
  // dtypes of a tensor in its models promote to, as PyTorch does it.
  std::optional<at::ScalarType> model_dtype;
  std::optional<int64_t> shard_bytes;  // none: the files of the base (or first expert)
  int64_t memory_limit_bytes = int64_t{1} << 30;
  std::optional<int64_t> keep_bytes;  // of a GPU, for what several passes read; none: 60 % of what is free
  int threads = 1;
  at::Device device = at::kCPU;
  uint64_t seed = 0;
  MergePrecision precision = MergePrecision::kFloat32;
  Digests digests = Digests::kAll;
  bool allow_vocabulary_mismatch = false;
  bool allow_head_mismatch = false;  // heads that are not the same in all models are left out: heads.h
  bool allow_non_finite = false;     // in models: docs/merge_inputs.md
  std::optional<std::string> tokenizer_from;  // an expert's name; none: the base's (or first expert's)
  std::optional<VocabularySpec> vocabulary;   // none: rows are merged as they are numbered
  std::optional<std::string> chat_template;   // its text, or "auto": what most models have
  bool follow_links = false;                  // files of models may be links to anywhere
  Reduce reduction = Reduce::kOrdered;
  bool inputs_are_local = false;  // experts lie on the disks of some ranks only
  // Of pipelines: merge/pipeline.h.
  std::optional<std::vector<std::string>>
      components;  // that are merged; none: the denoiser and the text encoders
  std::vector<KeptComponent> keep;
  bool is_component = false;  // one component's: experts may share files, folders above `out` are made later

  // How folders of models are read: files of a hub's cache are links.
  HfFolderOptions reading() const { return {.allow_symlinks = true, .follow_links = follow_links}; }
};

}  // namespace fusegrid
