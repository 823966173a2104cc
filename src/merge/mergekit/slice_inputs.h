// Which models make the slices of a result, and which of them is the base.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hf_folder.h"
#include "checkpoint/model_source.h"
#include "fusion/compat/porting.h"
#include "merge/mergekit/document.h"

namespace fusegrid::mergekit {

// Where the models of other documents of the file are made: name -> folder.
using MadeModels = std::map<std::string, std::filesystem::path>;

// Of a model, by the text that names it.
std::filesystem::path folder_of(const YamlValue& model, const MadeModels& made);

// The tensors of models, each opened once.
class Headers {
 public:
  explicit Headers(HfFolderOptions options) : options_(options) {}
  const ModelSource& operator[](const std::filesystem::path& folder);

 private:
  HfFolderOptions options_;
  std::map<std::filesystem::path, std::unique_ptr<ModelSource>> models_;
};

struct SliceInput {
  YamlValue model;
  Parameters parameters;
  std::filesystem::path folder;
  Layers layers;  // of the model; in `models` all
};

struct SliceInputs {
  const OutputSlice* slice = nullptr;
  // What is merged, in its order; the base is one of them where the method takes it as one more model, and the first
  // where slerp begins there.
  std::vector<SliceInput> merged;
  std::optional<SliceInput> base;
  int64_t begin = 0;  // its first layer in the result
  int64_t count = 0;  // of its layers
  std::map<std::string, int64_t>
      counts;  // of `models`, in place of it: layers of each stack ("encoder.block.")
};

// Whether a document has `models`, each whole, and not slices.
bool has_whole_models(const Document& document);

// Throws ConfigError with the line: layers that a model has not, slices without their base, numbers of models that the
// method does not take.
std::vector<SliceInputs> inputs_of_slices(const Document& document, const PortedMethod& method,
                                          const MadeModels& made, Headers& headers);

}  // namespace fusegrid::mergekit
