#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/model_spec.h"
#include "core/weights.h"

namespace fusegrid {

// The matrices of an MLP, as Llama and Mistral call them and as an expert of Mixtral does.
struct MlpMatrix {
  const char* dense;
  const char* expert;
  bool down;  // [hidden, intermediate]; else [intermediate, hidden]
};
inline constexpr std::array<MlpMatrix, 3> kMlpMatrices{
    {{"gate_proj", "w1", false}, {"down_proj", "w2", true}, {"up_proj", "w3", false}}};

std::string layer_prefix(int64_t layer);  // "model.layers.17."
std::string mlp_name(int64_t layer, const MlpMatrix& matrix);
bool is_mlp(const std::string& tensor);  // anything of an MLP

// A Llama or Mistral of which a mixture of experts in the layout of Mixtral can be made, open.
class DenseModel {
 public:
  // Throws ConfigError where the model is another, its configuration asks for what Mixtral cannot express, or its MLPs
  // are not the three matrices that config.json tells of; and what opening it throws.
  DenseModel(const ModelSpec& spec, HfFolderOptions options);

  const ModelSource& model() const { return *model_; }
  int64_t layers() const { return layers_; }
  int64_t hidden() const { return hidden_; }
  const TensorInfo& info(const std::string& name) const { return *tensors_.at(name); }
  double initializer_range() const;

  // Throws ConfigError where it lacks a tensor that a Mixtral takes from its base, or has one that Mixtral has no place
  // for (biases, other heads).
  void check_is_base() const;
  // Throws ConfigError where the MLPs are not as many and as large as those of `base`.
  void check_fits(const DenseModel& base) const;

  // config.json of a mixture of this base, as transformers reads it.
  nlohmann::json mixtral_config(int64_t experts, int64_t experts_per_token) const;

 private:
  std::string where() const { return "config.json of '" + model_->name() + "'"; }
  int64_t number(const std::string& key) const;
  void check_kind() const;
  void check_mlps() const;

  std::unique_ptr<ModelSource> model_;
  nlohmann::json config_;
  int64_t layers_ = 0, hidden_ = 0, intermediate_ = 0;
  std::map<std::string, const TensorInfo*> tensors_;
};

}  // namespace fusegrid
