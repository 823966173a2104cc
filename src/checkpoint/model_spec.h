// What stands for one model on a command line and in a job file: a folder, or a model that is made of folders while it
// is read. A further kind is one more file beside layer_stack.h, and a line in parse_model().
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/model_source.h"

namespace fusegrid {

class ModelSpec {
 public:
  virtual ~ModelSpec() = default;

  // The folders that it is read from. The tokenizer and other small files of the first go with the model.
  virtual std::vector<std::filesystem::path> folders() const = 0;
  // Whether it is one checkpoint as it lies there, so that the index of its weight files holds for it.
  virtual bool is_folder() const { return false; }
  // What it is called where nobody names it.
  virtual std::string default_name() const = 0;
  // The text with canonical paths and all parameters: the same for the same model. All folders must exist.
  virtual std::string identity() const = 0;
  // base: what an adapter is on, must outlive the result; nullptr where the model is itself the base, which an adapter
  // cannot be. Throws ConfigError where the parts do not fit or an adapter has no base; and as HfFolder and LoraExpert.
  virtual std::unique_ptr<ModelSource> open(const ModelSource* base, HfFolderOptions options) const = 0;
  // Its config.json. Throws as open(), and ConfigError where config.json cannot say what the model is.
  virtual nlohmann::json config(HfFolderOptions options) const = 0;
};

// A path that exists is a folder; else the text is read as a mixture of experts (mixture.h) or a stack of layers
// (layer_stack.h); what is neither is a folder as well, which open() will miss. Throws ConfigError where it is one of
// them but wrongly written.
std::unique_ptr<ModelSpec> parse_model(const std::string& text);

// A checkpoint folder, or an adapter on `base`: by what the folder holds. As ModelSpec::open().
std::unique_ptr<ModelSource> open_folder(const std::filesystem::path& path, const ModelSource* base,
                                         HfFolderOptions options = {});

// parse_model(text)->open(base, options)
std::unique_ptr<ModelSource> open_model(const std::filesystem::path& text, const ModelSource* base,
                                        HfFolderOptions options = {});

}  // namespace fusegrid
