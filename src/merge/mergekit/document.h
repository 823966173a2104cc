// What a configuration file of mergekit 0.1.5 says, as it says it: mergekit-yaml's files, mergekit-multi's with several
// documents, and mergekit-moe's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "merge/mergekit/yaml.h"

namespace fusegrid::mergekit {

// Values of a parameter for the tensors whose names contain `filter`.
struct Condition {
  std::optional<std::string> filter;  // none: all tensors
  std::vector<YamlValue> values;      // scalars; of a gradient several, or none
  bool is_gradient = false;
};

struct Parameter {
  std::vector<Condition> conditions;  // the first that fits counts
  YamlValue at;
};
using Parameters = std::map<std::string, Parameter>;

struct Layers {
  int64_t begin = 0;
  int64_t end = 0;  // behind the last
};

struct Source {
  YamlValue model;               // text
  std::optional<Layers> layers;  // none: all, in `models`
  Parameters parameters;
};

struct OutputSlice {
  std::vector<Source> sources;
  YamlValue base_model;  // nothing: the document's
  Parameters parameters;
  YamlValue at;
};

// Where the row of a token comes from.
struct TokenSource {
  enum class Kind { kZero, kModel, kTokenOfModel };
  std::string token;
  Kind kind = Kind::kZero;
  YamlValue model;
  YamlValue other_token;  // of kTokenOfModel: its text, or
  std::optional<int64_t> other_id;
  bool force = false;  // also in the models that have the token
  YamlValue at;
};

struct TokenizerSection {
  YamlValue source;  // "union", "base" or a model
  std::vector<TokenSource> tokens;
  int64_t pad_to_multiple_of = 1;
};

// An expert of mergekit-moe.
struct MixtureSection {
  YamlValue base_model;
  std::vector<YamlValue> experts;  // models
  int64_t experts_per_token = 2;
};

struct Document {
  YamlValue name;  // of mergekit-multi; nothing: the result
  YamlValue merge_method;
  YamlValue base_model;
  YamlValue dtype;
  YamlValue out_dtype;
  YamlValue chat_template;
  std::optional<TokenizerSection> tokenizer;
  std::vector<OutputSlice> slices;  // `models` are one without ranges
  Parameters parameters;
  Parameters module_parameters;
  std::optional<MixtureSection> mixture;  // then only base_model and dtype besides
  YamlValue at;

  // Every model that is merged, each text once, the base first.
  std::vector<YamlValue> models() const;
  // And those whose tokenizers are read besides.
  std::vector<YamlValue> all_models() const;
};

// Throws ConfigError with the line: unknown keys (with the nearest known one), wrong types, keys that contradict each
// other, and what mergekit takes and fusegrid does not.
Document parse_document(const YamlValue& value);

}  // namespace fusegrid::mergekit
