#include "merge/mergekit/translate.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

#include "checkpoint/layer_stack.h"
#include "checkpoint/model_spec.h"
#include "core/block_name.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "merge/mergekit/parameters.h"

namespace fusegrid::mergekit {
namespace {

namespace fs = std::filesystem;
using Kind = YamlValue::Kind;

fs::path folder_of(const YamlValue& model, const MadeModels& made) {
  const auto stage = made.find(model.text);
  return stage != made.end() ? stage->second : (fs::path(model.text) / "").parent_path();
}

void check_model(const YamlValue& model, const MadeModels& made) {
  std::error_code error;
  if (made.contains(model.text) || fs::is_directory(model.text, error)) {
    return;
  }
  if (const size_t plus = model.text.find('+'); plus != std::string::npos) {
    model.fail("a model must be a folder, but '" + model.text + "' is one with an adapter; merge it first: fusegrid " +
               "merge --method passthrough --base " + model.text.substr(0, plus) + " --expert " +
               model.text.substr(plus + 1) + " --out FOLDER");
  }
  model.fail("a model must be a folder, but there is no '" + model.text +
             "'; models of a hub must be downloaded first");
}

std::optional<at::ScalarType> dtype_of(const YamlValue& value, const std::string& key) {
  static const std::map<std::string, at::ScalarType> kDtypes{
      {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}};
  if (value.is(Kind::kNull)) {
    return std::nullopt;
  }
  const std::string name = value.text.starts_with("torch.") ? value.text.substr(6) : value.text;
  const auto it = kDtypes.find(name);
  if (it == kDtypes.end()) {
    value.fail("'" + key + "' must be bfloat16, float16 or float32, but it is " + value.seen());
  }
  return it->second;
}

void check_chat_template(const YamlValue& value) {
  const bool is_text = value.text.find('{') != std::string::npos;
  if (value.is(Kind::kScalar) && value.text != "auto" && !is_text) {
    value.fail("'chat_template' must be auto or the text of a template, but it is " + value.seen() +
               "; those that mergekit has by name are not part of fusegrid: write the text");
  }
}

// -- which models make a slice

struct SliceInput {
  const Source* source = nullptr;
  fs::path folder;
  Layers layers;  // of the model
};

struct SliceInputs {
  const OutputSlice* slice = nullptr;
  std::vector<SliceInput> merged;   // in their order; with them the base, where the method takes it as one more model
  std::optional<SliceInput> base;
  int64_t begin = 0;                      // its first layer in the result
  int64_t count = 0;                      // of its layers
  std::map<std::string, int64_t> counts;  // of `models`, in place of it: layers of each stack
};

constexpr Layers kAllLayers{0, INT64_MAX};

// Of each stack of layers: "encoder.block.", "decoder.block."
std::map<std::string, int64_t> counts_of(const ModelSource& model) {
  std::map<std::string, int64_t> counts;
  for (const TensorInfo& info : model.tensors()) {
    if (const BlockName name = block_name(info.name); name.inside) {
      counts[name.stack] = std::max(counts[name.stack], name.block + 1);
    }
  }
  return counts;
}

std::string models_text(const MethodCard& card) {
  constexpr int64_t kAny = int64_t{1} << 20;
  const std::string least = number_text(card.min_experts);
  return card.max_experts >= kAny ? least + " or more"
         : card.max_experts == card.min_experts ? least
                                                : least + " to " + number_text(card.max_experts);
}

// The tensors of a model that is there.
class Headers {
 public:
  explicit Headers(HfFolderOptions options) : options_(options) {}
  const ModelSource& operator[](const fs::path& folder) {
    auto& model = models_[folder];
    if (!model) {
      model = open_folder(folder, nullptr, options_);
    }
    return *model;
  }

 private:
  HfFolderOptions options_;
  std::map<fs::path, std::unique_ptr<ModelSource>> models_;
};

class Translation {
 public:
  Translation(const Document& document, const MadeModels& made, const MergeSpec& common)
      : document_(document),
        method_(method_named(document.merge_method)),
        made_(made),
        headers_(common.reading()),
        spec_(common) {}

  MergeSpec result() {
    spec_.precision = MergePrecision::kCompat;
    set_dtypes();
    collect_slices();
    set_models();
    set_method();
    set_vocabulary();
    if (document_.chat_template.is(Kind::kScalar)) {
      spec_.chat_template = document_.chat_template.text;
    }
    return std::move(spec_);
  }

 private:
  bool of_models() const { return !document_.slices.front().sources.front().layers; }
  const Method& ours() const { return method_registry().at(parse_call(method_.call).first); }

  void set_dtypes() {
    spec_.model_dtype = dtype_of(document_.dtype, "dtype");
    spec_.dtype = dtype_of(document_.out_dtype, "out_dtype");
    if (!spec_.dtype) {
      // whatever these two compute in, the original's result is float32
      const bool is_float32 = method_.name == "arcee_fusion" || method_.name == "ramplus_tl";
      spec_.dtype = is_float32 ? at::kFloat : spec_.model_dtype;
    }
  }

  SliceInput input_of(const Source& source) {
    SliceInput input{&source, folder_of(source.model, made_), source.layers.value_or(kAllLayers)};
    if (!source.layers) {
      return input;
    }
    const int64_t count = layers_of(source.model, input.folder);
    if (source.layers->end > count) {
      source.model.fail("'layer_range' must end at " + std::to_string(count) + " or before, as " +
                        source.model.seen() + " has " + std::to_string(count) + " layers, but it is [" +
                        std::to_string(source.layers->begin) + ", " + std::to_string(source.layers->end) + "]");
    }
    return input;
  }

  int64_t layers_of(const YamlValue& model, const fs::path& folder) {
    try {
      return count_layers(headers_[folder]);
    } catch (const ConfigError& error) {
      model.fail(error.what());
    }
  }

  void collect_slices() {
    for (const OutputSlice& slice : document_.slices) {
      SliceInputs inputs{&slice, {}, std::nullopt, layers_, 0, {}};
      const YamlValue& base = slice.base_model.is(Kind::kNull) ? document_.base_model : slice.base_model;
      for (const Source& source : slice.sources) {
        add_input(inputs, input_of(source), base);
      }
      add_unlisted_base(inputs, base);
      check_inputs(inputs, base);
      const SliceInput& first = inputs.merged.front();
      if (of_models()) {
        inputs.counts = counts_of(headers_[first.folder]);
      } else {
        inputs.count = first.layers.end - first.layers.begin;
        layers_ += inputs.count;
      }
      slices_.push_back(std::move(inputs));
    }
  }

  void add_input(SliceInputs& inputs, SliceInput input, const YamlValue& base) const {
    const bool is_base = base.is(Kind::kScalar) && input.source->model.text == base.text;
    if (is_base) {
      inputs.base = input;
    }
    if (is_base && method_.name == "slerp") {
      inputs.merged.insert(inputs.merged.begin(), std::move(input));  // it begins there
    } else if (!is_base || method_.base == PortedBase::kIgnored) {
      inputs.merged.push_back(std::move(input));
    }
  }

  // `models` need not name the base; mergekit then adds it behind them.
  void add_unlisted_base(SliceInputs& inputs, const YamlValue& base) {
    if (inputs.base || base.is(Kind::kNull) || !of_models()) {
      return;
    }
    added_.push_back(std::make_unique<Source>(Source{base, std::nullopt, {}}));
    add_input(inputs, input_of(*added_.back()), base);
  }

  void check_inputs(const SliceInputs& inputs, const YamlValue& base) const {
    const YamlValue& at = inputs.slice->at;
    if (method_.base == PortedBase::kRequired && base.is(Kind::kNull)) {
      document_.merge_method.fail("method '" + method_.name + "' needs 'base_model'; add it");
    }
    if (method_.base != PortedBase::kIgnored && base.is(Kind::kScalar) && !inputs.base) {
      at.fail("the base must be one of the sources of every slice, but " + base.seen() +
              " is none here; add it with its layers");
    }
    const auto count = static_cast<int64_t>(inputs.merged.size());
    const MethodCard& card = ours().card;
    if (count < card.min_experts || count > card.max_experts) {
      at.fail("method '" + method_.name + "' takes " + models_text(card) +
              (card.max_experts == 1 ? " model" : " models") +
              (method_.base == PortedBase::kRequired && method_.name != "slerp" ? " besides the base" : "") +
              ", but here are " + number_text(count));
    }
  }

  // -- models of the merge

  // The model whose slices are those that `choose` picks: a folder, or a stack of layers.
  fs::path model_of(const std::function<const SliceInput&(const SliceInputs&)>& choose) const {
    if (of_models()) {
      return choose(slices_.front()).folder;
    }
    std::vector<std::string> ranges;
    for (const SliceInputs& slice : slices_) {
      const SliceInput& input = choose(slice);
      ranges.push_back(input.folder.string() + "[" + std::to_string(input.layers.begin) + ":" +
                       std::to_string(input.layers.end) + "]");
    }
    return join(ranges, "+");
  }

  void set_models() {
    for (const SliceInputs& slice : slices_) {
      most_ = std::max(most_, slice.merged.size());
    }
    const bool all_have_base = std::all_of(slices_.begin(), slices_.end(),
                                           [](const SliceInputs& slice) { return slice.base.has_value(); });
    if (all_have_base) {
      spec_.base = model_of([](const SliceInputs& slice) -> const SliceInput& { return *slice.base; });
    }
    std::set<std::string> names;
    for (size_t i = 0; i < most_; ++i) {
      // a slice of fewer models shows its first one in the place of those that it has not, and nobody looks
      const fs::path path = model_of([i](const SliceInputs& slice) -> const SliceInput& {
        return slice.merged[i < slice.merged.size() ? i : 0];
      });
      const std::string name = parse_model(path.string())->default_name();
      std::string unique = name;
      for (int copy = 2; !names.insert(unique).second; ++copy) {
        unique = name + "-" + std::to_string(copy);
      }
      spec_.experts.push_back({unique, path});
    }
    if (!spec_.base && ours().card.needs.contains(Need::kPretrained)) {
      spec_.base = spec_.experts.front().path;  // that it is read does not matter
    }
  }

  // -- parameters of tensors

  struct Placed {
    const SliceInputs* slice = nullptr;
    std::optional<int64_t> layer;  // of the slice
    double t = 0;
    std::string stack, rest;
    size_t models = 0;  // that are merged there, the first ones
  };

  // Where tensors of the result stand; a few may be here that the result has not.
  std::map<std::string, Placed> places() {
    std::map<std::string, Placed> all;
    for (const SliceInputs& slice : slices_) {
      for (const SliceInput& input : with_base(slice)) {
        for (const TensorInfo& info : headers_[input.folder].tensors()) {
          const BlockName name = block_name(info.name);
          if (name.inside && name.block >= input.layers.begin && name.block < input.layers.end) {
            const int64_t layer = name.block - input.layers.begin;
            all[name.stack + std::to_string(slice.begin + layer) + "." + name.rest] = {
                &slice, layer, place_in(slice, name.stack, layer), name.stack, name.rest, slice.merged.size()};
          } else if (!name.inside) {
            all[info.name] = outside(info.name);
          }
        }
      }
    }
    return all;
  }

  static std::vector<SliceInput> with_base(const SliceInputs& slice) {
    std::vector<SliceInput> all = slice.merged;
    if (slice.base) {
      all.push_back(*slice.base);
    }
    return all;
  }

  static double place_in(const SliceInputs& slice, const std::string& stack, int64_t layer) {
    const auto known = slice.counts.find(stack);
    const int64_t count = known == slice.counts.end() ? slice.count : known->second;
    return count > 1 ? static_cast<double>(layer) / static_cast<double>(count - 1) : 1;
  }

  // Before the layers everything is as in the first slice, behind them as in the last one, of as many models as the
  // first has.
  Placed outside(const std::string& tensor) const {
    const SliceInputs& slice = is_behind_layers(tensor) ? slices_.back() : slices_.front();
    return {&slice, std::nullopt, 0, "", tensor, std::min(slices_.front().merged.size(), slice.merged.size())};
  }

  std::vector<const Parameters*> scopes(const SliceInputs& slice, const Source* source) const {
    std::vector<const Parameters*> all;
    if (source != nullptr) {
      all.push_back(&source->parameters);
    }
    all.insert(all.end(), {&slice.slice->parameters, &document_.module_parameters, &document_.parameters});
    return all;
  }

  Resolved resolved(const std::string& tensor, const Placed& placed) const {
    Resolved values;
    for (const PortedParameter& parameter : method_.parameters) {
      if (parameter.scope == PortedScope::kShared) {
        const auto value = value_of(parameter, scopes(*placed.slice, nullptr), {tensor, placed.t});
        if (value) {
          values.shared[parameter.name] = *value;
        } else if (parameter.default_value.empty()) {
          document_.merge_method.fail("method '" + method_.name + "' needs parameter '" + parameter.name +
                                      "' for tensor '" + tensor + "'; add it to 'parameters'");
        }
        continue;
      }
      for (size_t i = 0; i < placed.models; ++i) {
        values.of_each_model[parameter.name].push_back(of_model(parameter, placed, placed.slice->merged[i]));
      }
    }
    return values;
  }

  // Filters see the name that the tensor has in the model.
  std::string of_model(const PortedParameter& parameter, const Placed& placed, const SliceInput& input) const {
    const std::string name =
        placed.layer ? placed.stack + std::to_string(input.layers.begin + *placed.layer) + "." + placed.rest
                     : placed.rest;
    const auto value = value_of(parameter, scopes(*placed.slice, input.source), {name, placed.t});
    if (!value && parameter.default_value.empty()) {
      input.source->model.fail("model " + input.source->model.seen() + " needs parameter '" + parameter.name +
                               "' for tensor '" + name + "'; add it to its 'parameters'");
    }
    return value.value_or(parameter.default_value == "None" ? "1" : parameter.default_value);
  }

  void set_method() {
    MergeMethod call{parse_call(method_.call).first, parse_call(method_.call).second, {}};
    std::map<std::pair<ParamText, size_t>, MergePart> parts;
    for (const auto& [tensor, placed] : places()) {
      const ParamText here = parameters_here(method_, resolved(tensor, placed), placed.slice->base.has_value());
      MergePart& part = parts[{here, placed.models}];
      part.tensors.insert(tensor);
      part.parameters = here;
      if (placed.models < most_ && part.experts.empty()) {
        for (size_t i = 0; i < placed.models; ++i) {
          part.experts.push_back(i);
        }
      }
      check_here(call.name, here, placed);
    }
    if (parts.size() == 1 && parts.begin()->second.experts.empty()) {
      call.parameters = parts.begin()->second.parameters;
    } else {
      for (auto& [key, part] : parts) {
        call.parts.push_back(std::move(part));
      }
    }
    spec_.methods = {std::move(call)};
  }

  // What depends on several parameters.
  void check_here(const std::string& name, const ParamText& parameters, const Placed& placed) const {
    const Method& method = method_registry().at(name);
    try {
      method.canonical(parameters);
      method.check(parameters, method.card, static_cast<int64_t>(placed.models));
    } catch (const ConfigError& error) {
      document_.merge_method.fail(error.what());
    }
  }

  // -- tokens

  void set_vocabulary() {
    if (!document_.tokenizer) {
      return;
    }
    const TokenizerSection& section = *document_.tokenizer;
    VocabularySpec vocabulary;
    for (const YamlValue& model : document_.models()) {
      vocabulary.models.push_back(folder_of(model, made_));
    }
    if (section.source.text == "base") {
      vocabulary.model = vocabulary.models.front();
    } else if (section.source.text != "union") {
      vocabulary.model = folder_of(section.source, made_);
    }
    for (const OutputSlice& slice : document_.slices) {
      if (slice.base_model.is(Kind::kScalar)) {
        slice.base_model.fail("'base_model' of a slice is not offered beside a vocabulary of the result; leave one of "
                              "the two out");
      }
    }
    if (document_.base_model.is(Kind::kScalar)) {
      vocabulary.base = folder_of(document_.base_model, made_);
    }
    for (const TokenSource& token : section.tokens) {
      vocabulary.rules.push_back(rule_of(token));
    }
    vocabulary.pad_to_multiple_of = section.pad_to_multiple_of;
    spec_.vocabulary = std::move(vocabulary);
  }

  TokenRule rule_of(const TokenSource& token) const {
    TokenRule rule;
    rule.token = token.token;
    rule.force = token.force;
    rule.origin = *token.at.file + ":" + std::to_string(token.at.line);
    if (token.kind == TokenSource::Kind::kZero) {
      return rule;
    }
    rule.kind = token.kind == TokenSource::Kind::kModel ? TokenRule::Kind::kModel : TokenRule::Kind::kTokenOfModel;
    rule.model = folder_of(token.model, made_);
    rule.other_token = token.other_token.text;
    rule.other_id = token.other_id;
    return rule;
  }

  const Document& document_;
  const PortedMethod& method_;
  const MadeModels& made_;
  Headers headers_;
  MergeSpec spec_;
  std::vector<SliceInputs> slices_;
  std::vector<std::unique_ptr<Source>> added_;
  int64_t layers_ = 0;  // of the result so far
  size_t most_ = 0;     // models of a slice
};

MergeSpec mixture_of(const Document& document, const MadeModels& made, const MergeSpec& common) {
  MergeSpec spec = common;
  std::vector<std::string> experts;
  for (const YamlValue& expert : document.mixture->experts) {
    experts.push_back(folder_of(expert, made).string());
  }
  spec.dtype = dtype_of(document.dtype, "dtype");
  spec.methods = {{"passthrough", {}}};
  spec.experts = {{"mixture", "moe{experts_per_token=" + std::to_string(document.mixture->experts_per_token) +
                                  ",seed=" + std::to_string(common.seed) + "}(" +
                                  folder_of(document.base_model, made).string() + "; " + join(experts, ", ") + ")"}};
  return spec;
}

}  // namespace

void check_document(const Document& document, const MadeModels& made) {
  for (const YamlValue& model : document.all_models()) {
    check_model(model, made);
  }
  check_chat_template(document.chat_template);
  dtype_of(document.dtype, "dtype");
  dtype_of(document.out_dtype, "out_dtype");
  if (!document.mixture) {
    check_parameters(document, method_named(document.merge_method));
  }
}

MergeSpec translated(const Document& document, const MadeModels& made, const MergeSpec& common) {
  return document.mixture ? mixture_of(document, made, common) : Translation(document, made, common).result();
}

}  // namespace fusegrid::mergekit
