#include "checkpoint/lora_file_expert.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/ops/tensor.h>

#include "checkpoint/adapter_files.h"
#include "checkpoint/checks.h"
#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/lora_update.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

constexpr size_t kModulesShown = 4;
constexpr auto kTextModel = "text_model.";
constexpr auto kWeight = ".weight";

std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

// The modules of a base whose weights can have an update, as a file may call them.
class ModuleNames {
 public:
  enum class Naming { kSame, kMore, kLess };  // than the base's: "text_model." in front

  ModuleNames(const ModelSource& base, Naming naming) {
    for (const TensorInfo& tensor : base.tensors()) {
      if (!tensor.name.ends_with(kWeight) || !tensor.floating() || tensor.shape.size() < 2 ||
          tensor.numel() == 0) {
        continue;
      }
      const std::string module = tensor.name.substr(0, tensor.name.size() - std::string(kWeight).size());
      std::string name = naming == Naming::kMore ? kTextModel + module : module;
      if (naming == Naming::kLess && module.starts_with(kTextModel)) {
        name = module.substr(std::string(kTextModel).size());
      }
      dotted_[name].push_back(module);
      underscored_[with_underscores(name)].push_back(module);
    }
  }

  // The modules that are called so: one, where the name is clear.
  std::vector<std::string> find(const std::string& name, bool underscored) const {
    const auto& all = underscored ? underscored_ : dotted_;
    const auto it = all.find(name);
    return it == all.end() ? std::vector<std::string>{} : it->second;
  }

  // Keys of the file that are no module's.
  std::vector<std::string> unknown(const LoraFilePart& part) const {
    std::vector<std::string> keys;
    for (const bool underscored : {false, true}) {
      for (const auto& [name, factors] : underscored ? part.underscored : part.dotted) {
        if (find(name, underscored).empty()) {
          keys.push_back(factors.any());
        }
      }
    }
    return keys;
  }

 private:
  std::map<std::string, std::vector<std::string>> dotted_, underscored_;
};

// The naming that knows the most of a file's modules, the base's own where it knows all.
ModuleNames names_for(const LoraFilePart& part, const ModelSource& base) {
  using Naming = ModuleNames::Naming;
  ModuleNames best(base, Naming::kSame);
  size_t fewest = best.unknown(part).size();
  for (const Naming naming : {Naming::kMore, Naming::kLess}) {
    ModuleNames other(base, naming);
    if (const size_t unknown = other.unknown(part).size(); unknown < fewest) {
      fewest = unknown;
      best = std::move(other);
    }
  }
  return best;
}

[[noreturn]] void fail_with_unknown(const std::string& file, const std::vector<std::string>& keys,
                                    const std::string& base) {
  const bool original = std::any_of(keys.begin(), keys.end(), [](const std::string& key) {
    return key.find("input_blocks") != std::string::npos || key.find("output_blocks") != std::string::npos ||
           key.find("middle_block") != std::string::npos || key.find("double_blocks") != std::string::npos ||
           key.find("single_blocks") != std::string::npos;
  });
  throw ConfigError("every module of a LoRA file must be one of the base, but '" + base + "' has none for " +
                    number_text(static_cast<int64_t>(keys.size())) + " of '" + file +
                    "': " + some_names(keys, kModulesShown) +
                    (original
                         ? "; these are names of the original code: load the file in diffusers and save it "
                           "(save_lora_weights), which writes the names of diffusers"
                         : "; give the base that it was trained on"));
}

// The sides without those of length 1 at the end: a convolution of 1 x 1 is a matrix.
std::vector<int64_t> without_ones(std::vector<int64_t> shape, size_t at_least) {
  while (shape.size() > at_least && shape.back() == 1) {
    shape.pop_back();
  }
  return shape;
}

std::vector<float> read_all_floats(const SafetensorsFile& file, const std::string& key, int64_t begin,
                                   int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  read_as_floats([&](int64_t first, int64_t n, void* to) { file.read_range(key, first, n, to); },
                 file.info(key).dtype, begin, count, values.data());
  return values;
}

}  // namespace

LoraFileExpert::LoraFileExpert(const fs::path& file, const std::optional<std::string>& component,
                               const ModelSource& base)
    : file_(file), base_(base) {
  const LoraFilePart part = part_of(component);
  const ModuleNames names = names_for(part, base);
  if (const auto unknown = names.unknown(part); !unknown.empty()) {
    fail_with_unknown(file.string(), unknown, base.name());
  }
  for (const bool underscored : {false, true}) {
    for (const auto& [name, keys] : underscored ? part.underscored : part.dotted) {
      const std::vector<std::string> modules = names.find(name, underscored);
      if (modules.size() > 1) {
        throw ConfigError("the name of a module must be that of one module of the base, but " +
                          printable(keys.any()) + " of '" + file.string() + "' can be " +
                          some_names(modules, kModulesShown) +
                          "; load the file in diffusers and save it (save_lora_weights), which writes dots");
      }
      add(modules.front() + kWeight, name, keys, part.config);
    }
  }
  for (const TensorInfo& tensor : base.tensors()) {
    tensors_.push_back(tensor);
    if (updates_.contains(tensor.name)) {
      tensors_.back().dtype = at::kFloat;
    }
  }
}

LoraFilePart LoraFileExpert::part_of(const std::optional<std::string>& component) const {
  std::map<std::string, LoraFilePart> parts = lora_file_parts(file_);
  if (!component) {
    if (parts.size() > 1) {
      throw ConfigError("'" + file_.path().string() + "' changes several components of a pipeline, but '" +
                        base_.name() + "' is a single model; give the pipeline as --base");
    }
    return std::move(parts.begin()->second);
  }
  const auto named = parts.find(*component);
  const auto unnamed = is_denoiser(*component) ? parts.find(kDenoiser) : parts.end();
  if (named != parts.end() && unnamed != parts.end()) {
    throw ConfigError("'" + file_.path().string() + "' must name one component in one way, but " +
                      printable(*component) +
                      " stands in front of some names only; write it in front of all of them");
  }
  return named != parts.end()     ? std::move(named->second)
         : unnamed != parts.end() ? std::move(unnamed->second)
                                  : LoraFilePart{};
}

void LoraFileExpert::add(const std::string& tensor, const std::string& module, const LoraFactorKeys& keys,
                         const std::optional<LoraConfig>& config) {
  const TensorInfo& weight = *find_tensor(base_, tensor);
  const TensorInfo down = file_.info(keys.down);
  const TensorInfo up = file_.info(keys.up);
  const std::vector<int64_t> shape = without_ones(weight.shape, 2);
  const int64_t rank = down.shape.empty() ? 0 : down.shape[0];
  std::vector<int64_t> down_shape = shape;
  down_shape[0] = rank;
  if (rank == 0 || !down.floating() || !up.floating() || without_ones(down.shape, 2) != down_shape ||
      without_ones(up.shape, 2) != std::vector<int64_t>{shape[0], rank}) {
    throw ConfigError("the factors of '" + tensor + "' " + shape_text(weight.shape) + " must be [r" +
                      shape_text(weight.shape).substr(shape_text(weight.shape).find(',')) + " and [" +
                      number_text(shape[0]) + ", r], but in '" + file_.path().string() + "' they are " +
                      shape_text(down.shape) + " and " + shape_text(up.shape) +
                      "; give the base that the file was trained on");
  }
  const Update update{.down = keys.down,
                      .up = keys.up,
                      .rank = rank,
                      .rows = weight.shape[0],
                      .cols = weight.numel() / weight.shape[0],
                      .scale = static_cast<float>(scale_of(module, keys, rank, config)),
                      .base_dtype = weight.dtype};
  if (!updates_.emplace(tensor, update).second) {
    throw DataError("'" + file_.path().string() +
                    "' must change each tensor once, but two of its modules are '" + tensor + "'");
  }
}

double LoraFileExpert::scale_of(const std::string& module, const LoraFactorKeys& keys, int64_t rank,
                                const std::optional<LoraConfig>& config) const {
  std::optional<double> by_alpha;
  if (!keys.alpha.empty()) {
    const TensorInfo info = file_.info(keys.alpha);
    const double alpha = info.numel() == 1 ? file_.read(keys.alpha).item().toDouble() : std::nan("");
    if (!std::isfinite(alpha)) {
      throw DataError("'" + file_.path().string() + "': " + printable(keys.alpha) +
                      " must be one finite number, but it is " +
                      (info.numel() == 1 ? number_text(alpha) : shape_text(info.shape)));
    }
    by_alpha = alpha / static_cast<double>(rank);
  }
  if (!config) {
    return by_alpha.value_or(1);
  }
  if (config->rank(module) != rank) {
    throw DataError("'" + file_.path().string() + "': " + printable(module) +
                    " must have the rank of the file's metadata, " + number_text(config->rank(module)) +
                    ", but its factors have rank " + number_text(rank));
  }
  const double scale = config->scale(module);
  if (by_alpha && std::abs(*by_alpha - scale) > 1e-6 * std::abs(scale)) {
    throw DataError("'" + file_.path().string() + "': " + printable(keys.alpha) +
                    " must agree with the file's metadata, but they scale the update by " +
                    number_text(*by_alpha) + " and " + number_text(scale) + "; remove one of the two");
  }
  return scale;
}

void LoraFileExpert::read_range(const std::string& name, int64_t begin, int64_t count,
                                void* destination) const {
  const auto it = updates_.find(name);
  if (it == updates_.end() || count == 0) {
    base_.read_range(name, begin, count, destination);
    return;
  }
  const Update& update = it->second;
  auto* const values = static_cast<float*>(destination);
  read_as_floats([&](int64_t first, int64_t n, void* to) { base_.read_range(name, first, n, to); },
                 update.base_dtype, begin, count, values);
  const int64_t first_row = begin / update.cols;
  const int64_t rows = (begin + count - 1) / update.cols - first_row + 1;
  add_low_rank(read_all_floats(file_, update.up, first_row * update.rank, rows * update.rank),
               read_all_floats(file_, update.down, 0, update.rank * update.cols), update.rank, update.cols,
               update.scale, begin, count, values);
}

std::optional<LowRankFactors> LoraFileExpert::factors(const std::string& name) const {
  const auto it = updates_.find(name);
  if (it == updates_.end() || find_tensor(base_, name)->shape.size() != 2) {
    return std::nullopt;
  }
  const Update& update = it->second;
  const auto up = read_all_floats(file_, update.up, 0, update.rows * update.rank);
  const auto down = read_all_floats(file_, update.down, 0, update.rank * update.cols);
  return LowRankFactors{at::tensor(up).view({update.rows, update.rank}),
                        at::tensor(down).view({update.rank, update.cols}), update.scale};
}

void LoraFileExpert::check_unchanged() const {
  file_.check_unchanged();
  base_.check_unchanged();
}

namespace {

class LoraFileSpec final : public ModelSpec {
 public:
  LoraFileSpec(fs::path file, std::optional<std::string> component)
      : file_(std::move(file)), component_(std::move(component)) {}

  std::vector<fs::path> folders() const override { return {file_}; }
  std::string default_name() const override { return file_.stem().string(); }
  std::string identity() const override {
    return fs::canonical(file_).string() + (component_ ? "[" + *component_ + "]" : "");
  }
  std::unique_ptr<ModelSource> open(const ModelSource* base, HfFolderOptions) const override {
    if (base == nullptr) {
      throw ConfigError("a base must be a whole checkpoint, but '" + file_.string() +
                        "' is a file; give the folder of the model that the experts were tuned from");
    }
    return std::make_unique<LoraFileExpert>(file_, component_, *base);
  }
  nlohmann::json config(HfFolderOptions) const override { return {}; }

 private:
  fs::path file_;
  std::optional<std::string> component_;
};

}  // namespace

std::optional<fs::path> lora_file_at(const fs::path& path, HfFolderOptions options) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return path.extension() == ".safetensors" && fs::exists(path, error) ? std::optional(path) : std::nullopt;
  }
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  for (const std::string other : {"config.json", "model_index.json", kAdapterConfig, kAdapterWeights}) {
    if (folder.contains(other)) {
      return std::nullopt;
    }
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".safetensors") {
      files.push_back(entry.path().filename().string());
    }
  }
  const bool one = files.size() == 1 && files.front() != "model.safetensors" &&
                   files.front() != "diffusion_pytorch_model.safetensors";
  return one ? std::optional(folder.resolve(files.front())) : std::nullopt;
}

std::unique_ptr<ModelSpec> parse_lora_file(const std::string& text) {
  constexpr std::string_view kEnding = ".safetensors";
  std::error_code error;
  if (fs::is_directory(text, error)) {
    return nullptr;
  }
  if (text.ends_with(kEnding)) {
    return std::make_unique<LoraFileSpec>(text, std::nullopt);
  }
  const size_t open = text.rfind('[');
  if (open == std::string::npos || !text.ends_with(']') || !text.substr(0, open).ends_with(kEnding)) {
    return nullptr;
  }
  return std::make_unique<LoraFileSpec>(text.substr(0, open), text.substr(open + 1, text.size() - open - 2));
}

}  // namespace fusegrid
