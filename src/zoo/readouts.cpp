// Reads the heads files that a zoo describes.
#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>

#include "checkpoint/checks.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "core/text.h"
#include "models/architecture.h"
#include "models/deeplab.h"
#include "models/dense_readout.h"
#include "models/stored_parameters.h"
#include "models/tanh_readout.h"
#include "models/tower_readout.h"
#include "zoo/checkpoint_folder.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

std::string head_of(const SafetensorsFile& file, const std::string& task) {
  return "'" + file.path().string() + "': head of task '" + task + "'";
}

void check_columns(const at::Tensor& matrix, int64_t columns, const std::string& what) {
  if (matrix.dim() != 2 || matrix.size(1) != columns) {
    throw ConfigError(what + " must have the shape [classes, " + std::to_string(columns) + "], but it has " +
                      shape_text(matrix.sizes().vec()));
  }
}

// Frozen rows of unit length. projection: of the base, undefined where it has none.
std::shared_ptr<const Readout> read_cosine_head(const SafetensorsFile& file, const std::string& task,
                                                double scale, const at::Tensor& projection,
                                                int64_t features) {
  const std::string what = head_of(file, task);
  const at::Tensor rows = file.read(task + ".rows").to(at::kFloat);
  check_columns(rows, projection.defined() ? projection.size(0) : features, what);
  const double off = (at::linalg_vector_norm(rows, 2, {{1}}) - 1).abs().max().item<double>();
  if (!(off < 1e-3)) {  // also where it is NaN
    throw DataError(what + " must have rows of length 1, but one is off by " + number_text(off));
  }
  return cosine_readout(rows, scale, projection);
}

at::Tensor read_bias(const SafetensorsFile& file, const std::string& name, int64_t rows,
                     const std::string& what) {
  const at::Tensor bias =
      file.contains(name) ? file.read(name).to(at::kFloat) : at::zeros({rows}, at::kFloat);
  if (bias.sizes() != at::IntArrayRef{rows}) {
    throw ConfigError(what + " must have a bias of shape [" + std::to_string(rows) + "], but it has " +
                      shape_text(bias.sizes().vec()));
  }
  return bias;
}

// With a layer of its own in front where there is one.
std::shared_ptr<const Readout> read_affine_head(const SafetensorsFile& file, const std::string& task,
                                                int64_t features, Pooling pooling) {
  const std::string what = head_of(file, task), hidden = task + ".hidden.weight";
  const at::Tensor weight = file.read(task + ".weight").to(at::kFloat);
  const at::Tensor layer = file.contains(hidden) ? file.read(hidden).to(at::kFloat) : at::Tensor();
  if (layer.defined()) {
    check_columns(layer, features, what + ": hidden.weight");
  }
  check_columns(weight, layer.defined() ? layer.size(0) : features, what);
  const at::Tensor bias = read_bias(file, task + ".bias", weight.size(0), what);
  check_finite({{task + ".weight", weight}, {task + ".bias", bias}}, file.path().string());
  const auto head = affine_readout(weight, bias, pooling);
  if (!layer.defined()) {
    return head;
  }
  const at::Tensor shift = read_bias(file, task + ".hidden.bias", layer.size(0), what + ": hidden");
  check_finite({{hidden, layer}, {task + ".hidden.bias", shift}}, file.path().string());
  return tanh_readout(layer, shift, head);
}

// The names of a task's tensors in the file, without the task's.
std::vector<std::string> parts_of(const SafetensorsFile& file, const std::string& task) {
  std::vector<std::string> parts;
  for (const FileTensor& tensor : file.tensors()) {
    if (tensor.name.starts_with(task + ".")) {
      parts.push_back(tensor.name.substr(task.size() + 1));
    }
  }
  return parts;
}

// A decoder of maps.
std::shared_ptr<const Readout> read_decoder(const SafetensorsFile& file, const std::string& task,
                                            const Architecture& architecture) {
  const std::string what = head_of(file, task);
  if (architecture.map_size() == PixelSize{}) {
    throw ConfigError(what + " is a decoder, which reads a map, but models of the architecture " +
                      architecture.name() + " make none");
  }
  Weights decoder;
  const std::vector<int64_t> dilations = deeplab_dilations(parts_of(file, task));
  const std::vector<int64_t> kernel = file.read(task + ".conv.weight").sizes().vec();
  const std::vector<int64_t> head = file.read(task + ".weight").sizes().vec();
  const bool reads_features = kernel.size() == 4 && kernel[1] == architecture.feature_size();
  if (dilations.empty() && (!reads_features || kernel[2] % 2 == 0 || kernel[2] != kernel[3])) {
    throw ConfigError(what + ": conv.weight must have the shape [hidden, " +
                      std::to_string(architecture.feature_size()) + ", k, k] with k odd, but it has " +
                      shape_text(kernel));
  }
  const auto infos = dilations.empty() ? decoder_parameters(kernel[1], kernel[0], head.at(0), kernel[2])
                                       : deeplab_parameters(architecture.feature_size(), kernel.at(0),
                                                            head.at(0), dilations);
  for (const TensorInfo& info : infos) {
    const std::string name = task + "." + info.name;
    if (!file.contains(name)) {
      throw ConfigError(what + " is a decoder, which has a tensor " + name + ", but it is missing");
    }
    const at::Tensor tensor = file.read(name).to(at::kFloat);
    if (tensor.sizes().vec() != info.shape) {
      throw ConfigError(what + ": " + info.name + " must have the shape " + shape_text(info.shape) +
                        ", but it has " + shape_text(tensor.sizes().vec()));
    }
    check_finite({{name, tensor}}, file.path().string());
    decoder.emplace(info.name, tensor);
  }
  return dense_readout(std::move(decoder), map_sizes(architecture));
}

// The tokens of a zero-shot head, whose rows the merged tower of texts makes.
std::shared_ptr<const Readout> read_prompts(const SafetensorsFile& file, const std::string& task,
                                            std::shared_ptr<const Architecture> architecture) {
  const std::string what = head_of(file, task);
  const InputFormat input = architecture->input();
  if (input.vocabulary == 0 || input.image_size == 0) {
    throw ConfigError(what +
                      " is made of prompts, which the tower of texts of a model reads, but models of the "
                      "architecture " +
                      architecture->name() + " have not both towers");
  }
  const at::Tensor tokens = file.read(task + ".prompts").to(at::kLong);
  const at::Tensor lengths = file.read(task + ".prompt_lengths").to(at::kLong);
  if (tokens.dim() != 3 || lengths.sizes().vec() != std::vector<int64_t>{tokens.size(0), tokens.size(1)}) {
    throw ConfigError(what +
                      " must have prompts [classes, prompts, width] and prompt_lengths [classes, "
                      "prompts], but they have the shapes " +
                      shape_text(tokens.sizes().vec()) + " and " + shape_text(lengths.sizes().vec()));
  }
  const bool fits = tokens.ge(0).all().item<bool>() && tokens.lt(input.vocabulary).all().item<bool>() &&
                    lengths.ge(1).all().item<bool>() &&
                    lengths.le(std::min(tokens.size(2), input.positions)).all().item<bool>();
  if (!fits) {
    throw DataError(what +
                    " must have prompts of ids that the model knows, and no longer ones than it reads");
  }
  return prompt_readout(std::move(architecture), {tokens, lengths});
}

// All heads of a zoo read features that are pooled alike: decoders, none of them; affine heads, pooled ones.
void check_pooling(const SafetensorsFile& file, const std::string& task, Pooling pooling) {
  const bool is_decoder = file.contains(task + ".conv.weight");
  if (is_decoder != (pooling == Pooling::kNone)) {
    throw ConfigError(head_of(file, task) +
                      (is_decoder ? " is a decoder, which reads a map, but the pooling of "
                                  : " reads pooled features, but the pooling of ") +
                      "the zoo is " + to_string(pooling) +
                      "; decoders ask for none, and all heads of a zoo must read features pooled alike");
  }
}

// Of models that hold their head.
std::shared_ptr<const Readout> readout_in(const Architecture& architecture) {
  const auto head = architecture.own_head();
  if (architecture.input().state_size > 0) {
    return features_readout(architecture.feature_size());
  }
  if (!head) {
    throw ConfigError("the zoo has no heads, and its models, of the architecture " + architecture.name() +
                      ", hold none; name a heads file");
  }
  const auto tensors = architecture.parameters();
  const auto rows = std::find_if(tensors.begin(), tensors.end(),
                                 [&](const TensorInfo& tensor) { return tensor.name == head->weight; });
  return own_readout(*head, architecture.feature_size(), rows->shape.front());
}

double read_logit_scale(const SafetensorsFile& file) {
  const at::Tensor scale = file.read("logit_scale");
  const bool one = scale.numel() == 1 && scale.is_floating_point();
  const double value = one ? std::exp(scale.reshape({}).item<double>()) : 0;
  if (!(value > 0 && std::isfinite(value))) {
    throw DataError("'" + file.path().string() +
                    "': logit_scale must be one finite number, the logarithm of " +
                    "the scale of the logits");
  }
  return value;
}

}  // namespace

std::map<std::string, std::shared_ptr<const Readout>> load_readouts(const fs::path& base,
                                                                    const fs::path& heads,
                                                                    const std::vector<std::string>& tasks,
                                                                    Pooling pooling, at::Device device) {
  if (tasks.empty()) {
    return {};
  }
  const HfFolder folder = open_checkpoint(base);
  const std::shared_ptr<const Architecture> architecture = make_architecture(folder.config());
  const int64_t features = architecture->feature_size();
  const auto projection = architecture->projection();
  at::Tensor projected;
  if (projection && (projection->required || folder.contains(projection->info.name))) {
    const auto& [name, shape, dtype] = projection->info;
    projected = folder.read(stored_tensor(folder, {name}, shape).name).to(at::kFloat);
  }
  std::map<std::string, std::shared_ptr<const Readout>> readouts;
  if (heads.empty()) {
    const auto own = readout_in(*architecture);
    for (const std::string& task : tasks) {
      readouts[task] = own;
    }
    return readouts;
  }
  const SafetensorsFile file(heads);
  std::optional<double> scale;
  for (const std::string& task : tasks) {
    if (file.contains(task + ".rows")) {
      if (pooling != Pooling::kFirst) {
        throw ConfigError(head_of(file, task) + " reads the first token, but the pooling of the zoo is " +
                          to_string(pooling) + "; all heads of a zoo must read features pooled alike");
      }
      scale = scale ? scale : read_logit_scale(file);
      readouts[task] = read_cosine_head(file, task, *scale, projected, features)->to(device);
    } else if (file.contains(task + ".prompts")) {
      readouts[task] = read_prompts(file, task, architecture)->to(device);
    } else if (file.contains(task + ".pairs")) {
      readouts[task] = pair_readout(features);
    } else if (file.contains(task + ".weight")) {
      check_pooling(file, task, pooling);
      readouts[task] = (pooling == Pooling::kNone ? read_decoder(file, task, *architecture)
                                                  : read_affine_head(file, task, features, pooling))
                           ->to(device);
    } else if (const auto own = architecture->own_head(); own && own->of_tokens()) {
      readouts[task] = readout_in(*architecture);  // of answers, which check_pack() knows
    } else {
      throw ConfigError(head_of(file, task) + " is missing; the file needs a tensor " + task +
                        ".rows [classes, embedding size] of unit length, or " + task + ".weight [classes, " +
                        std::to_string(features) + "] and " + task + ".bias [classes]");
    }
  }
  return readouts;
}

Weights heads_of(const fs::path& heads, const std::vector<std::string>& tasks) {
  const SafetensorsFile file(heads);
  Weights tensors;
  const auto take = [&](const std::string& name) {
    if (file.contains(name)) {
      tensors.emplace(name, file.read(name));
    }
  };
  for (const std::string& task : tasks) {
    for (const std::string part :
         {".rows", ".weight", ".bias", ".hidden.weight", ".hidden.bias", ".conv.weight", ".norm.weight",
          ".norm.bias", ".norm.running_mean", ".norm.running_var", ".prompts", ".prompt_lengths", ".pairs"}) {
      take(task + part);
    }
    if (const auto dilations = deeplab_dilations(parts_of(file, task)); !dilations.empty()) {
      for (const TensorInfo& info : deeplab_parameters(1, 1, 1, dilations)) {
        take(task + "." + info.name);
      }
    }
    if (tensors.contains(task + ".rows")) {
      take("logit_scale");
    }
  }
  return tensors;
}

}  // namespace fusegrid
