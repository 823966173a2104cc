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

void check_model(const YamlValue& model, const MadeModels& made) {
  std::error_code error;
  if (made.contains(model.text) || fs::is_directory(model.text, error)) {
    return;
  }
  if (const size_t plus = model.text.find('+'); plus != std::string::npos) {
    model.fail("a model must be a folder, but '" + model.text +
               "' is one with an adapter; merge it first: fusegrid " + "merge --method passthrough --base " +
               model.text.substr(0, plus) + " --expert " + model.text.substr(plus + 1) + " --out FOLDER");
  }
  model.fail("a model must be a folder, but there is no '" + model.text +
             "'; models of a hub must be downloaded first");
}

std::optional<at::ScalarType> dtype_of(const YamlValue& value, const std::string& key) {
  static const std::map<std::string, at::ScalarType> dtypes{
      {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}};
  if (value.is(Kind::kNull)) {
    return std::nullopt;
  }
  const std::string name = value.text.starts_with("torch.") ? value.text.substr(6) : value.text;
  const auto it = dtypes.find(name);
  if (it == dtypes.end()) {
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
    slices_ = inputs_of_slices(document_, method_, made_, headers_);
    set_models();
    set_method();
    set_vocabulary();
    if (document_.chat_template.is(Kind::kScalar)) {
      spec_.chat_template = document_.chat_template.text;
    }
    return std::move(spec_);
  }

 private:
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

  // -- models of the merge

  // The model whose slices are those that `choose` picks: a folder, or a stack of layers.
  fs::path model_of(const std::function<const SliceInput&(const SliceInputs&)>& choose) const {
    if (has_whole_models(document_)) {
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
                &slice,     layer,     place_in(slice, name.stack, layer),
                name.stack, name.rest, slice.merged.size()};
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
    return {&slice, std::nullopt, 0,
            "",     tensor,       std::min(slices_.front().merged.size(), slice.merged.size())};
  }

  std::vector<const Parameters*> scopes(const SliceInputs& slice, const SliceInput* input) const {
    std::vector<const Parameters*> all;
    if (input != nullptr) {
      all.push_back(&input->parameters);
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
  std::string of_model(const PortedParameter& parameter, const Placed& placed,
                       const SliceInput& input) const {
    const std::string name =
        placed.layer ? placed.stack + std::to_string(input.layers.begin + *placed.layer) + "." + placed.rest
                     : placed.rest;
    const auto value = value_of(parameter, scopes(*placed.slice, &input), {name, placed.t});
    if (!value && parameter.default_value.empty()) {
      input.model.fail("model " + input.model.seen() + " needs parameter '" + parameter.name +
                       "' for tensor '" + name + "'; add it to its 'parameters'");
    }
    return value.value_or(parameter.default_value == "None" ? "1" : parameter.default_value);
  }

  void set_method() {
    MergeMethod call{parse_call(method_.call).first, parse_call(method_.call).second, {}};
    std::map<std::pair<ParamText, size_t>, MergePart> parts;
    for (const auto& [tensor, placed] : places()) {
      const ParamText here =
          parameters_here(method_, resolved(tensor, placed), placed.slice->base.has_value());
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
        slice.base_model.fail(
            "'base_model' of a slice is not offered beside a vocabulary of the result; leave one of "
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
    rule.kind =
        token.kind == TokenSource::Kind::kModel ? TokenRule::Kind::kModel : TokenRule::Kind::kTokenOfModel;
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
  size_t most_ = 0;  // models of a slice
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
                                  folder_of(document.base_model, made).string() + "; " + join(experts, ", ") +
                                  ")"}};
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
