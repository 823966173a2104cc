#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/lora_folder.h"
#include "checkpoint/model_source.h"
#include "merge/adapter/low_rank.h"

namespace fusegrid::adapters {

// What becomes of tensors that a model changed and no factors describe: norms, biases, embeddings.
enum class Rest {
  kDrop,    // the adapter lacks the change
  kSave,    // the adapter holds them whole
  kRefuse,  // ConfigError where there are any
};

struct ExtractionOptions {
  RankRule rule;
  std::optional<double> alpha;  // none: the largest rank
  std::vector<std::string>
      modules;  // ends of the names of modules that get factors; empty: all linear layers
  Rest rest = Rest::kDrop;
  int threads = 1;  // each holds about eight copies of a matrix in float64
  at::Device device = at::kCPU;
  std::function<void(double share)> progress = [](double) {};  // called by several threads, one at a time
};

// A module with factors.
struct ExtractedModule {
  std::string name;
  std::vector<int64_t> shape;  // of its weight, as the checkpoint holds it
  int64_t rank = 0;            // 0: the model did not change it
  double norm = 0;             // of the change, Frobenius
  double error_norm = 0;       // of the change minus what the factors make
};
// A tensor that changed and has no factors.
struct UnfactoredTensor {
  std::string name;
  double norm = 0;     // of the change, Frobenius
  bool saved = false;  // the adapter holds it whole
};

struct Extraction {
  LoraAdapter adapter;
  std::vector<ExtractedModule> modules;  // by name
  std::vector<UnfactoredTensor> rest;    // by name
  // Of the change of the whole model, Frobenius: what the adapter lacks, by the norm of the change.
  double relative_error() const;
};

// The adapter on `base` that comes nearest to `model`: of each module the leading singular triplets of the difference.
// Both have the same tensors in the same shapes, as open_inputs() leaves them. Matrix by matrix, so that memory does
// not depend on the size of the models; the same bits for any number of threads. Throws ConfigError where the models
// are equal, a name in `modules` means nothing or no matrix, or the rule does not fit; as ModelSource::read_range().
// Source: Hu et al., "LoRA", ICLR 2022, arXiv:2106.09685 (the form of the result); truncated SVD as in mergekit.
Extraction extract_adapter(const ModelSource& base, const ModelSource& model,
                           const ExtractionOptions& options);

}  // namespace fusegrid::adapters
