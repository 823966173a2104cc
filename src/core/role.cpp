#include "core/role.h"

#include "core/errors.h"

namespace fusegrid {
namespace {

bool is_named_as_running_statistic(const std::string& name) {
  return name.ends_with("running_mean") || name.ends_with("running_var");
}

bool is_lookup(const std::string& name) {
  const bool embeds =
      name.find("embed") != std::string::npos && name.find("patch_embed") == std::string::npos;
  return embeds || name.ends_with("cls_token") || name.ends_with("wte.weight") ||
         name.ends_with("wpe.weight") || name.ends_with("shared.weight") ||
         name.ends_with("relative_attention_bias.weight");
}

// Kernels that cut images into patches, and rows with an axis of length 1 before them; the stem of a ResNet is an
// `embedder`.
bool is_embedding_of_images(const std::string& name) {
  const bool is_patches =
      name.find("patch_embed") != std::string::npos || name.ends_with("visual.conv1.weight");
  return is_patches || (is_lookup(name) && name.find("embedder") == std::string::npos);
}

}  // namespace

Role role_of(const TensorInfo& tensor) {
  if (!tensor.floating()) {
    return Role::kOther;
  }
  if (is_named_as_running_statistic(tensor.name)) {
    return Role::kRunningStatistic;
  }
  if (tensor.shape.size() > 2) {
    return is_embedding_of_images(tensor.name) ? Role::kEmbedding : Role::kConvolution;
  }
  // BERT's norm of embeddings stands in a module of that name
  if (tensor.shape.size() == 2 || tensor.name.ends_with("class_embedding")) {
    return is_lookup(tensor.name) || !tensor.name.ends_with("weight") ? Role::kEmbedding : Role::kMatrix;
  }
  return tensor.name.ends_with("weight") || tensor.name.ends_with("gamma") ? Role::kScale : Role::kBias;
}

bool is_running_statistic(const TensorInfo& tensor) {
  return role_of(tensor) == Role::kRunningStatistic;
}

bool is_running_statistic(const std::string& name, const at::Tensor& tensor) {
  return is_running_statistic({name, tensor.sizes().vec(), tensor.scalar_type()});
}

bool is_layer_weight(const TensorInfo& tensor) {
  const Role role = role_of(tensor);
  return role == Role::kMatrix || role == Role::kConvolution;
}

std::string to_string(Role role) {
  switch (role) {
    case Role::kMatrix:
      return "matrix";
    case Role::kConvolution:
      return "convolution";
    case Role::kEmbedding:
      return "embedding";
    case Role::kScale:
      return "scale";
    case Role::kBias:
      return "bias";
    case Role::kRunningStatistic:
      return "running statistic";
    case Role::kOther:
      return "other";
  }
  FUSEGRID_ASSERT(false, "unknown role");
}

}  // namespace fusegrid
