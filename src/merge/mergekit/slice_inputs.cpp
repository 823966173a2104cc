#include "merge/mergekit/slice_inputs.h"

#include <algorithm>

#include "checkpoint/layer_stack.h"
#include "checkpoint/model_spec.h"
#include "core/block_name.h"
#include "core/errors.h"
#include "core/params.h"
#include "core/text.h"
#include "fusion/method.h"

namespace fusegrid::mergekit {
namespace {

namespace fs = std::filesystem;

constexpr Layers kAllLayers{0, INT64_MAX};

std::map<std::string, int64_t> layers_of_stacks(const ModelSource& model) {
  std::map<std::string, int64_t> counts;
  for (const TensorInfo& info : model.tensors()) {
    if (const BlockName name = block_name(info.name); name.inside) {
      counts[name.stack] = std::max(counts[name.stack], name.block + 1);
    }
  }
  return counts;
}

// "2 models", "1 or more models"
std::string models_text(const MethodCard& card) {
  constexpr int64_t kAny = int64_t{1} << 20;
  const std::string least = number_text(card.min_experts);
  return (card.max_experts >= kAny               ? least + " or more"
          : card.max_experts == card.min_experts ? least
                                                 : least + " to " + number_text(card.max_experts)) +
         (card.max_experts == 1 ? " model" : " models");
}

class SliceReader {
 public:
  SliceReader(const Document& document, const PortedMethod& method, const MadeModels& made, Headers& headers)
      : document_(document), method_(method), made_(made), headers_(headers) {}

  SliceInputs read(const OutputSlice& slice, int64_t begin) {
    SliceInputs inputs{&slice, {}, std::nullopt, begin, 0, {}};
    const YamlValue& base =
        slice.base_model.is(YamlValue::Kind::kNull) ? document_.base_model : slice.base_model;
    for (const Source& source : slice.sources) {
      add(inputs, input_of(source), base);
    }
    if (!inputs.base && base.is(YamlValue::Kind::kScalar) && has_whole_models(document_)) {
      add(inputs, input_of({base, std::nullopt, {}}),
          base);  // it need not be named; mergekit adds it behind the others
    }
    check(inputs, base);
    const SliceInput& first = inputs.merged.front();
    if (has_whole_models(document_)) {
      inputs.counts = layers_of_stacks(headers_[first.folder]);
    } else {
      inputs.count = first.layers.end - first.layers.begin;
    }
    return inputs;
  }

 private:
  SliceInput input_of(const Source& source) {
    SliceInput input{source.model, source.parameters, folder_of(source.model, made_),
                     source.layers.value_or(kAllLayers)};
    if (!source.layers) {
      return input;
    }
    const int64_t count = layers_of(input);
    if (source.layers->end > count) {
      source.model.fail("'layer_range' must end at " + std::to_string(count) + " or before, as " +
                        source.model.seen() + " has " + std::to_string(count) + " layers, but it is [" +
                        std::to_string(source.layers->begin) + ", " + std::to_string(source.layers->end) +
                        "]");
    }
    return input;
  }

  int64_t layers_of(const SliceInput& input) {
    try {
      return count_layers(headers_[input.folder]);
    } catch (const ConfigError& error) {
      input.model.fail(error.what());
    }
  }

  void add(SliceInputs& inputs, SliceInput input, const YamlValue& base) const {
    const bool is_base = base.is(YamlValue::Kind::kScalar) && input.model.text == base.text;
    if (is_base) {
      inputs.base = input;
    }
    if (is_base && method_.name == "slerp") {
      inputs.merged.insert(inputs.merged.begin(), std::move(input));
    } else if (!is_base || method_.base == PortedBase::kIgnored) {
      inputs.merged.push_back(std::move(input));
    }
  }

  void check(const SliceInputs& inputs, const YamlValue& base) const {
    const YamlValue& at = inputs.slice->at;
    if (method_.base == PortedBase::kRequired && base.is(YamlValue::Kind::kNull)) {
      document_.merge_method.fail("method '" + method_.name + "' needs 'base_model'; add it");
    }
    if (method_.base != PortedBase::kIgnored && base.is(YamlValue::Kind::kScalar) && !inputs.base) {
      at.fail("the base must be one of the sources of every slice, but " + base.seen() +
              " is none here; add it with its layers");
    }
    const auto count = static_cast<int64_t>(inputs.merged.size());
    const MethodCard& card = method_registry().at(parse_call(method_.call).first).card;
    if (count < card.min_experts || count > card.max_experts) {
      const bool beside_base = method_.base == PortedBase::kRequired && method_.name != "slerp";
      at.fail("method '" + method_.name + "' takes " + models_text(card) +
              (beside_base ? " besides the base" : "") + ", but here are " + number_text(count));
    }
  }

  const Document& document_;
  const PortedMethod& method_;
  const MadeModels& made_;
  Headers& headers_;
};

}  // namespace

fs::path folder_of(const YamlValue& model, const MadeModels& made) {
  const auto stage = made.find(model.text);
  return stage != made.end() ? stage->second : (fs::path(model.text) / "").parent_path();
}

const ModelSource& Headers::operator[](const fs::path& folder) {
  auto& model = models_[folder];
  if (!model) {
    model = open_folder(folder, nullptr, options_);
  }
  return *model;
}

bool has_whole_models(const Document& document) {
  return !document.slices.front().sources.front().layers;
}

std::vector<SliceInputs> inputs_of_slices(const Document& document, const PortedMethod& method,
                                          const MadeModels& made, Headers& headers) {
  SliceReader reader(document, method, made, headers);
  std::vector<SliceInputs> all;
  int64_t begin = 0;
  for (const OutputSlice& slice : document.slices) {
    all.push_back(reader.read(slice, begin));
    begin += all.back().count;
  }
  return all;
}

}  // namespace fusegrid::mergekit
