#include "merge/mergekit/document.h"

#include <algorithm>
#include <set>

#include "merge/mergekit/keys.h"

namespace fusegrid::mergekit {
namespace {

using Kind = YamlValue::Kind;

// One value, or a list of values: a gradient.
Condition parse_values(const std::string& name, const YamlValue& value) {
  if (value.is(Kind::kScalar)) {
    return {std::nullopt, {value}, false};
  }
  if (!value.is(Kind::kList)) {
    value.fail("parameter '" + name +
               "' must be a value, a list of values over the layers, or a list of entries with "
               "'filter' and 'value', but it is " +
               value.seen());
  }
  for (const YamlValue& item : value.items) {
    if (!item.is(Kind::kScalar)) {
      item.fail("the list of parameter '" + name +
                "' must hold values alone, or entries with 'value' alone, but here is " + item.seen());
    }
  }
  return {std::nullopt, value.items, true};
}

Condition parse_condition(const std::string& name, const YamlValue& value) {
  const Keys keys(value, "an entry of parameter '" + name + "'", {"value", "filter"});
  if (!keys.has("value")) {
    value.fail("an entry of parameter '" + name + "' needs 'value'; add it");
  }
  Condition condition = parse_values(name, keys.at("value"));
  if (keys.has("filter")) {
    condition.filter = keys.text("filter").text;
  }
  return condition;
}

Parameter parse_parameter(const std::string& name, const YamlValue& value) {
  Parameter parameter{{}, value};
  if (value.is(Kind::kMap)) {
    parameter.conditions.push_back(parse_condition(name, value));
  } else if (value.is(Kind::kList) && !value.items.empty() && value.items.front().is(Kind::kMap)) {
    for (const YamlValue& item : value.items) {
      parameter.conditions.push_back(parse_condition(name, item));
    }
  } else {
    parameter.conditions.push_back(parse_values(name, value));
  }
  return parameter;
}

Parameters parse_parameters(const Keys& keys) {
  Parameters parameters;
  const YamlValue value = keys.at("parameters");
  if (value.is(Kind::kNull)) {
    return parameters;
  }
  if (!value.is(Kind::kMap)) {
    value.fail("'parameters' must be a mapping of names to values, but it is " + value.seen());
  }
  for (const Entry& entry : value.entries) {
    Parameter parameter = parse_parameter(entry.key, entry.value);
    parameter.at.line = entry.line;
    parameters.emplace(entry.key, std::move(parameter));
  }
  return parameters;
}

Source parse_source(const YamlValue& value, bool of_slice) {
  const std::string what = of_slice ? "a source of a slice" : "an entry of 'models'";
  const Keys keys(value, what,
                  of_slice ? std::vector<std::string>{"model", "layer_range", "parameters"}
                           : std::vector<std::string>{"model", "parameters"});
  Source source{keys.required("model"), std::nullopt, parse_parameters(keys)};
  if (!of_slice) {
    return source;
  }
  const YamlValue range = keys.list("layer_range");
  if (range.items.size() != 2) {
    (range.is(Kind::kNull) ? value : range)
        .fail(what + " needs 'layer_range: [first, behind the last]'" +
              (range.is(Kind::kNull) ? "; add it"
                                     : ", but it has " + std::to_string(range.items.size()) + " numbers"));
  }
  source.layers =
      Layers{whole_number_of(range.items[0], "layer_range"), whole_number_of(range.items[1], "layer_range")};
  if (source.layers->begin < 0 || source.layers->end <= source.layers->begin) {
    range.fail("'layer_range' must have at least one layer, and ends behind the last one, but it is [" +
               std::to_string(source.layers->begin) + ", " + std::to_string(source.layers->end) + "]");
  }
  return source;
}

void check_sources(const OutputSlice& slice) {
  std::set<std::string> models;
  for (const Source& source : slice.sources) {
    if (!models.insert(source.model.text).second) {
      source.model.fail("a model must stand once in 'models' or in a slice, but " + source.model.seen() +
                        " stands twice; give it once, with the sum of the weights");
    }
    const auto count = [](const Source& of) { return of.layers ? of.layers->end - of.layers->begin : 0; };
    if (count(source) != count(slice.sources.front())) {
      source.model.fail("all sources of a slice must have as many layers, but the first has " +
                        std::to_string(count(slice.sources.front())) + " and this one " +
                        std::to_string(count(source)));
    }
  }
}

OutputSlice parse_slice(const YamlValue& value) {
  const Keys keys(value, "a slice", {"sources", "base_model", "residual_weight", "parameters"});
  keys.refuse("residual_weight", "mergekit reads it and does nothing with it; remove it");
  OutputSlice slice{{}, keys.text("base_model"), parse_parameters(keys), value};
  if (!keys.has("sources")) {
    value.fail("a slice needs 'sources'; add it");
  }
  for (const YamlValue& item : keys.list("sources").items) {
    slice.sources.push_back(parse_source(item, true));
  }
  check_sources(slice);
  return slice;
}

// `models` or `slices` of a document or a module.
std::vector<OutputSlice> parse_inputs(const Keys& keys) {
  std::vector<OutputSlice> slices;
  for (const YamlValue& item : keys.list("slices").items) {
    slices.push_back(parse_slice(item));
  }
  const YamlValue models = keys.list("models");
  if (!models.is(Kind::kNull)) {
    OutputSlice slice{{}, {}, {}, models};
    for (const YamlValue& item : models.items) {
      slice.sources.push_back(parse_source(item, false));
    }
    check_sources(slice);
    slices.push_back(std::move(slice));
  }
  return slices;
}

std::vector<OutputSlice> parse_modules(const YamlValue& modules, Parameters& parameters) {
  if (!modules.is(Kind::kMap) || modules.entries.empty()) {
    modules.fail("'modules' must be a mapping, but it is " + modules.seen());
  }
  const Entry& entry = modules.entries.front();
  if (entry.key != "default" || modules.entries.size() > 1) {
    modules.fail(
        "'modules' must have the one module 'default': models of several modules (vision towers, Whisper) "
        "are "
        "merged with 'models' where all their tensors are to be merged alike");
  }
  const Keys keys(entry.value, "a module", {"slices", "models", "parameters"});
  if (keys.has("slices") == keys.has("models")) {
    entry.value.fail("a module must have one of 'models' and 'slices'");
  }
  parameters = parse_parameters(keys);
  return parse_inputs(keys);
}

TokenSource parse_token(const Entry& entry) {
  const Keys keys(entry.value, "token '" + entry.key + "'", {"source", "force"});
  TokenSource token;
  token.token = entry.key;
  token.at = entry.value;
  token.force = keys.truth_value("force");
  const YamlValue source = keys.at("source");
  if (source.is(Kind::kNull)) {
    entry.value.fail("token '" + entry.key +
                     "' needs 'source': a model, {kind: zero} or {kind: model_token, ...}");
  }
  if (source.is(Kind::kScalar)) {
    token.kind = TokenSource::Kind::kModel;
    token.model = source;
    return token;
  }
  const Keys how(source, "the source of token '" + entry.key + "'", {"kind", "model", "token", "token_id"});
  const YamlValue kind = how.required("kind");
  if (kind.text == "zero") {
    token.kind = TokenSource::Kind::kZero;
    return token;
  }
  if (kind.text != "model_token") {
    kind.fail("'kind' must be zero or model_token, but it is " + kind.seen());
  }
  token.kind = TokenSource::Kind::kTokenOfModel;
  token.model = how.required("model");
  token.other_token = how.text("token");
  if (how.has("token_id")) {
    token.other_id = how.whole_number("token_id", 0);
  }
  if (how.has("token") == how.has("token_id")) {
    source.fail("the source of token '" + entry.key + "' must have one of 'token' and 'token_id'");
  }
  return token;
}

TokenizerSection parse_tokenizer(const YamlValue& value) {
  const Keys keys(value, "'tokenizer'", {"source", "tokens", "pad_to_multiple_of"});
  TokenizerSection section;
  section.source = keys.text("source");
  if (section.source.is(Kind::kNull)) {
    section.source = value;
    section.source.kind = Kind::kScalar;
    section.source.text = "union";
  }
  section.pad_to_multiple_of = keys.whole_number("pad_to_multiple_of", 1);
  if (section.pad_to_multiple_of < 1) {
    keys.at("pad_to_multiple_of")
        .fail("'pad_to_multiple_of' must be 1 or more, but it is " +
              std::to_string(section.pad_to_multiple_of));
  }
  const YamlValue tokens = keys.at("tokens");
  if (!tokens.is(Kind::kNull) && !tokens.is(Kind::kMap)) {
    tokens.fail("'tokens' must be a mapping of tokens, but it is " + tokens.seen());
  }
  for (const Entry& entry : tokens.entries) {
    section.tokens.push_back(parse_token(entry));
  }
  return section;
}

YamlValue parse_mixture_expert(const YamlValue& value) {
  const Keys keys(value, "an expert",
                  {"source_model", "positive_prompts", "negative_prompts", "noise_scale", "residual_scale"});
  keys.refuse("noise_scale", "the experts of a mixture are taken as they are; remove it");
  keys.refuse("residual_scale", "the experts of a mixture are taken as they are; remove it");
  return keys.required("source_model");
}

// A file of mergekit-moe.
Document parse_moe(const YamlValue& value) {
  const Keys keys(value, "a file of mergekit-moe",
                  {"name", "base_model", "experts", "gate_mode", "dtype", "experts_per_token",
                   "shared_experts", "architecture"});
  Document document;
  document.at = value;
  document.name = keys.text("name");
  document.dtype = keys.text("dtype");
  document.base_model = keys.required("base_model");
  keys.refuse("shared_experts", "a Mixtral has none; remove it");
  if (keys.has("architecture") && keys.text("architecture").text != "mixtral") {
    keys.at("architecture")
        .fail("'architecture' must be mixtral, but it is " + keys.at("architecture").seen());
  }
  const YamlValue mode = keys.text("gate_mode");
  if (mode.text != "random") {
    (mode.is(Kind::kNull) ? value : mode)
        .fail("'gate_mode' must be random, but it is " +
              (mode.is(Kind::kNull) ? "'hidden', its default" : mode.seen()) +
              ": routers from prompts need forward passes, which a merge of files does not make; write "
              "gate_mode: random "
              "and train the routers");
  }
  MixtureSection mixture{document.base_model, {}, keys.whole_number("experts_per_token", 2)};
  for (const YamlValue& item : keys.list("experts").items) {
    mixture.experts.push_back(parse_mixture_expert(item));
  }
  document.mixture = std::move(mixture);
  return document;
}

bool is_moe(const YamlValue& value) {
  return std::any_of(value.entries.begin(), value.entries.end(),
                     [](const Entry& entry) { return entry.key == "experts" || entry.key == "gate_mode"; });
}

}  // namespace

std::vector<YamlValue> Document::models() const {
  std::vector<YamlValue> all;
  const auto add = [&](const YamlValue& model) {
    if (model.is(Kind::kScalar) && std::none_of(all.begin(), all.end(), [&](const YamlValue& other) {
          return other.text == model.text;
        })) {
      all.push_back(model);
    }
  };
  add(base_model);
  for (const OutputSlice& slice : slices) {
    add(slice.base_model);
    for (const Source& source : slice.sources) {
      add(source.model);
    }
  }
  if (mixture) {
    std::for_each(mixture->experts.begin(), mixture->experts.end(), add);
  }
  return all;
}

std::vector<YamlValue> Document::all_models() const {
  std::vector<YamlValue> all = models();
  if (tokenizer) {
    if (tokenizer->source.text != "union" && tokenizer->source.text != "base") {
      all.push_back(tokenizer->source);
    }
    for (const TokenSource& token : tokenizer->tokens) {
      if (token.model.is(Kind::kScalar)) {
        all.push_back(token.model);
      }
    }
  }
  return all;
}

Document parse_document(const YamlValue& value) {
  if (is_moe(value)) {
    return parse_moe(value);
  }
  const Keys keys(value, "a file of mergekit",
                  {"name", "merge_method", "models", "slices", "modules", "base_model", "dtype", "out_dtype",
                   "tokenizer_source", "tokenizer", "chat_template", "parameters"});
  Document document;
  document.at = value;
  document.name = keys.text("name");
  document.merge_method = keys.required("merge_method");
  document.base_model = keys.text("base_model");
  document.dtype = keys.text("dtype");
  document.out_dtype = keys.text("out_dtype");
  document.chat_template = keys.text("chat_template");
  document.parameters = parse_parameters(keys);
  if (int{keys.has("models")} + int{keys.has("slices")} + int{keys.has("modules")} != 1) {
    value.fail("a file of mergekit must have exactly one of 'models', 'slices' and 'modules'");
  }
  document.slices = keys.has("modules") ? parse_modules(keys.at("modules"), document.module_parameters)
                                        : parse_inputs(keys);
  if (keys.has("tokenizer") && keys.has("tokenizer_source")) {
    keys.at("tokenizer").fail("'tokenizer' and 'tokenizer_source' say the same; remove one of them");
  }
  if (keys.has("tokenizer_source")) {
    document.tokenizer = TokenizerSection{keys.text("tokenizer_source"), {}, 1};
  } else if (keys.has("tokenizer")) {
    document.tokenizer = parse_tokenizer(keys.at("tokenizer"));
  }
  return document;
}

}  // namespace fusegrid::mergekit
