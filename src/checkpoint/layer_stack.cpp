#include "checkpoint/layer_stack.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "checkpoint/checks.h"
#include "checkpoint/stacked_config.h"
#include "core/block_name.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// The stack of layers of a model that has one, and how many layers it has.
struct Layers {
  std::string stack;
  int64_t count = 0;
};

Layers layers_of(const ModelSource& model) {
  std::map<std::string, std::set<int64_t>> stacks;
  for (const TensorInfo& info : model.tensors()) {
    if (const BlockName name = block_name(info.name); name.inside) {
      stacks[name.stack].insert(name.block);
    }
  }
  if (stacks.size() != 1) {
    std::vector<std::string> names;
    for (const auto& [stack, blocks] : stacks) {
      names.push_back(stack);
    }
    throw ConfigError(
        "layers can be taken from models with one stack of them, but '" + model.name() + "' has " +
        (names.empty() ? "none" : std::to_string(names.size()) + " (" + join(names, ", ") + ")"));
  }
  const auto& [stack, blocks] = *stacks.begin();
  if (*blocks.rbegin() + 1 != static_cast<int64_t>(blocks.size())) {
    throw ConfigError("the layers of '" + model.name() + "' must be numbered from 0 without gaps, but of " +
                      std::to_string(blocks.size()) + " the last is " + std::to_string(*blocks.rbegin()));
  }
  return {stack, static_cast<int64_t>(blocks.size())};
}

struct LayerSlice {
  std::filesystem::path folder;  // a whole checkpoint
  int64_t begin = 0;
  int64_t end = 0;  // behind the last layer
};

std::string range_text(const LayerSlice& slice) {
  return slice.folder.string() + "[" + std::to_string(slice.begin) + ":" + std::to_string(slice.end) + "]";
}

std::string stack_text(const std::vector<LayerSlice>& slices) {
  std::vector<std::string> ranges;
  for (const LayerSlice& slice : slices) {
    ranges.push_back(range_text(slice));
  }
  return join(ranges, "+");
}

struct Checkpoint {
  Checkpoint(const std::filesystem::path& path, HfFolderOptions options)
      : folder(path, options), layers(layers_of(folder)) {}
  HfFolder folder;
  Layers layers;
};

// Each once, however many slices are of it.
using Checkpoints = std::map<std::filesystem::path, Checkpoint>;

Checkpoints open_checkpoints(const std::vector<LayerSlice>& slices, HfFolderOptions options) {
  Checkpoints all;
  for (const LayerSlice& slice : slices) {
    all.try_emplace(slice.folder, slice.folder, options);
  }
  return all;
}

class LayerStack final : public ModelSource {
 public:
  LayerStack(const std::vector<LayerSlice>& slices, HfFolderOptions options)
      : name_(stack_text(slices)),
        checkpoints_(open_checkpoints(slices, options)),
        first_(checkpoints_.at(slices.front().folder).folder) {
    stack_ = checkpoints_.at(slices.front().folder).layers.stack;
    add_outside(first_, checkpoints_.at(slices.back().folder).folder);
    for (const LayerSlice& slice : slices) {
      add_slice(slice);
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  }

  std::string name() const override { return name_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return first_.config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const auto& [model, theirs] = sources_.at(name);
    model->read_range(theirs, begin, count, destination);
  }
  void check_unchanged() const override {
    for (const auto& [path, checkpoint] : checkpoints_) {
      checkpoint.folder.check_unchanged();
    }
  }

 private:
  void add_outside(const HfFolder& first, const HfFolder& last) {
    for (const TensorInfo& info : first.tensors()) {
      if (block_name(info.name).inside) {
        continue;
      }
      if (!last.contains(info.name) || last.info(info.name).shape != info.shape) {
        throw ConfigError("tensor '" + info.name +
                          "' must be in the first and in the last model of a stack, in one shape, but '" +
                          last.name() + "' has it not, or as another one than '" + first.name() + "'");
      }
      const HfFolder& model = is_behind_layers(info.name) ? last : first;
      add(model.info(info.name), model, info.name);
    }
  }

  void add(TensorInfo info, const HfFolder& model, const std::string& name) {
    sources_.emplace(name, std::pair(&model, info.name));
    info.name = name;
    tensors_.push_back(std::move(info));
  }

  void add_slice(const LayerSlice& slice) {
    const auto& [model, layers] = checkpoints_.at(slice.folder);
    if (slice.end > layers.count) {
      throw ConfigError("'" + range_text(slice) + "' must end at layer " + std::to_string(layers.count) +
                        " or before: the model has no more");
    }
    for (const TensorInfo& info : model.tensors()) {
      const BlockName name = block_name(info.name);
      if (!name.inside || name.block < slice.begin || name.block >= slice.end) {
        continue;
      }
      const auto [known, is_new] = shapes_.emplace(name.rest, info.shape);
      if (!is_new && known->second != info.shape) {
        throw ConfigError(
            "tensor '" + name.rest + "' must have one shape in all layers of a stack, but it has " +
            shape_text(info.shape) + " in layer " + std::to_string(name.block) + " of '" +
            slice.folder.string() + "' and " + shape_text(known->second) + " in a layer before");
      }
      add(info, model, stack_ + std::to_string(layers_ + name.block - slice.begin) + "." + name.rest);
    }
    layers_ += slice.end - slice.begin;
  }

  std::string name_;
  Checkpoints checkpoints_;
  const HfFolder& first_;
  std::string stack_;
  int64_t layers_ = 0;                                  // stacked so far
  std::map<std::string, std::vector<int64_t>> shapes_;  // by name within a layer
  std::map<std::string, std::pair<const HfFolder*, std::string>> sources_;
  std::vector<TensorInfo> tensors_;
};

LayerSlice parse_slice(const std::string& text, const std::string& whole) {
  const size_t bracket = text.rfind('[');
  const auto range = bracket == std::string::npos || text.back() != ']'
                         ? std::vector<std::string>()
                         : split(text.substr(bracket + 1, text.size() - bracket - 2), ':');
  if (range.size() != 2 || bracket == 0) {
    throw ConfigError("a stack of layers must be written FOLDER[BEGIN:END]+FOLDER[BEGIN:END], but '" + whole +
                      "' has '" + text + "'");
  }
  LayerSlice slice{text.substr(0, bracket), parse_int(range[0], "the first layer of '" + text + "'"),
                   parse_int(range[1], "the end of '" + text + "'")};
  if (slice.begin < 0 || slice.end <= slice.begin) {
    throw ConfigError("the layers of '" + text +
                      "' must be at least one: END is behind the last, so above BEGIN");
  }
  return slice;
}

const std::vector<std::string>& keys_of_counts() {
  static const std::vector<std::string> keys{"num_hidden_layers", "n_layer", "num_layers"};
  return keys;
}

// Which of the models in one a name speaks of: "vision_config", "model.visual.blocks.".
enum class Tower : uint8_t { kText, kVision, kAudio };

Tower tower_of(const std::string& name) {
  const auto speaks_of = [&](const char* word) { return name.find(word) != std::string::npos; };
  return speaks_of("vision") || speaks_of("visual") || speaks_of("image") ? Tower::kVision
         : speaks_of("audio") || speaks_of("speech")                      ? Tower::kAudio
                                                                          : Tower::kText;
}

// Adds the parts of a configuration below `at` ("/text_config") that say how many layers there are.
void add_parts_with_count(const nlohmann::json& part, const nlohmann::json::json_pointer& at, int64_t layers,
                          std::vector<nlohmann::json::json_pointer>& found) {
  if (!part.is_object()) {
    return;
  }
  if (std::any_of(keys_of_counts().begin(), keys_of_counts().end(),
                  [&](const std::string& key) { return part.contains(key) && part[key] == layers; })) {
    found.push_back(at);
  }
  for (const auto& [key, value] : part.items()) {
    if (key.ends_with("_config")) {
      add_parts_with_count(value, at / key, layers, found);
    }
  }
}

// Where the configuration of `model` speaks of its layers: in the whole, and in the part of it that is about them, if
// there is one (text_config). Throws ConfigError where neither says how many there are.
std::vector<nlohmann::json::json_pointer> parts_about_layers(const std::string& model,
                                                             const nlohmann::json& config,
                                                             const Layers& layers) {
  std::vector<nlohmann::json::json_pointer> parts;
  add_parts_with_count(config, nlohmann::json::json_pointer(), layers.count, parts);
  std::erase_if(parts, [&](const auto& part) {
    return !part.empty() && tower_of(part.to_string()) != tower_of(layers.stack);
  });
  std::vector<std::string> names;
  for (const auto& part : parts) {
    if (!part.empty()) {
      names.push_back(part.to_string().substr(1));
    }
  }
  if (parts.empty() || names.size() > 1) {
    throw ConfigError(
        "config.json of '" + model + "' must have its " + std::to_string(layers.count) +
        " layers as one of " + join(keys_of_counts(), ", ") +
        ", at its top or in one part such as text_config, so that the stack's can be written there" +
        (names.empty() ? "" : ", but it has them in " + join(names, ", ")));
  }
  if (!parts.front().empty()) {
    parts.insert(parts.begin(), nlohmann::json::json_pointer());
  }
  return parts;
}

nlohmann::json stack_config(const std::vector<LayerSlice>& slices, HfFolderOptions options) {
  const Checkpoints checkpoints = open_checkpoints(slices, options);
  const Checkpoint& first = checkpoints.at(slices.front().folder);
  nlohmann::json config = first.folder.config();
  const auto parts = parts_about_layers(slices.front().folder.string(), config, first.layers);
  const int64_t count =
      std::accumulate(slices.begin(), slices.end(), int64_t{0},
                      [](int64_t sum, const LayerSlice& slice) { return sum + slice.end - slice.begin; });
  for (const auto& at : parts) {
    std::vector<StackedLayer> stack;
    for (const LayerSlice& slice : slices) {
      const Checkpoint& from = checkpoints.at(slice.folder);
      const nlohmann::json& whole = from.folder.config();
      for (int64_t layer = slice.begin; layer < slice.end; ++layer) {
        stack.push_back(
            {slice.folder.string(), whole.contains(at) ? &whole.at(at) : &whole, from.layers.count, layer});
      }
    }
    nlohmann::json& part = config.at(at);
    restack_config(part, stack);
    for (const std::string& key : keys_of_counts()) {
      if (part.contains(key) && part[key] == first.layers.count) {
        part[key] = count;
      }
    }
  }
  return config;
}

class StackSpec final : public ModelSpec {
 public:
  explicit StackSpec(std::vector<LayerSlice> slices) : slices_(std::move(slices)) {}

  std::vector<std::filesystem::path> folders() const override {
    std::vector<std::filesystem::path> all;
    for (const LayerSlice& slice : slices_) {
      all.push_back(slice.folder);
    }
    return all;
  }
  std::string default_name() const override {
    return parse_model(slices_.front().folder.string())->default_name() + "-stack";
  }
  std::string identity() const override {
    std::vector<LayerSlice> slices = slices_;
    for (LayerSlice& slice : slices) {
      slice.folder = std::filesystem::canonical(slice.folder);
    }
    return stack_text(slices);
  }
  std::unique_ptr<ModelSource> open(const ModelSource*, HfFolderOptions options) const override {
    return std::make_unique<LayerStack>(slices_, options);
  }
  nlohmann::json config(HfFolderOptions options) const override { return stack_config(slices_, options); }

 private:
  std::vector<LayerSlice> slices_;
};

}  // namespace

int64_t count_layers(const ModelSource& model) {
  return layers_of(model).count;
}

bool is_behind_layers(const std::string& tensor) {
  static const std::set<std::string> behind{
      "lm_head",           "norm",           "ln_f",      "final_layernorm",
      "final_layer_norm",  "post_layernorm", "layernorm", "embed_out",
      "visual_projection", "pooler",         "score",     "classifier"};
  const auto parts = split(tensor, '.');
  return std::any_of(parts.begin(), parts.end(),
                     [](const std::string& part) { return behind.contains(part); });
}

std::unique_ptr<ModelSpec> parse_layer_stack(const std::string& text) {
  const size_t bracket = text.rfind('[');
  const bool has_range =
      bracket != std::string::npos && text.back() == ']' && text.find(':', bracket) != std::string::npos;
  if (!has_range) {
    return nullptr;
  }
  std::vector<LayerSlice> slices;
  for (size_t begin = 0; begin < text.size();) {  // a folder's name may have a '+'
    const size_t end = std::min(text.find("]+", begin), text.size() - 1) + 1;
    slices.push_back(parse_slice(text.substr(begin, end - begin), text));
    begin = end + 1;
  }
  return std::make_unique<StackSpec>(std::move(slices));
}

}  // namespace fusegrid
