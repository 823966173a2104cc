#include "core/role.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

Role role(const std::string& name, std::vector<int64_t> shape, at::ScalarType dtype = at::kFloat) {
  return role_of({name, std::move(shape), dtype});
}

TEST(Role, is_told_by_name_and_shape) {
  EXPECT_EQ(role("vision_model.encoder.layers.0.mlp.fc1.weight", {8, 4}), Role::kMatrix);
  EXPECT_EQ(role("visual_projection.weight", {8, 4}), Role::kMatrix);
  EXPECT_EQ(role("vision_model.embeddings.patch_embedding.weight", {8, 3, 4, 4}), Role::kEmbedding);
  EXPECT_EQ(role("vit.embeddings.patch_embeddings.projection.weight", {8, 3, 4, 4}), Role::kEmbedding);
  EXPECT_EQ(role("visual.conv1.weight", {8, 3, 4, 4}), Role::kEmbedding) << "OpenCLIP's";
  EXPECT_EQ(role("vit.embeddings.cls_token", {1, 1, 8}), Role::kEmbedding);
  EXPECT_EQ(role("vit.embeddings.position_embeddings", {1, 5, 8}), Role::kEmbedding);
  EXPECT_EQ(role("resnet.embedder.embedder.convolution.weight", {8, 3, 7, 7}), Role::kConvolution);
  EXPECT_EQ(role("resnet.embedder.embedder.normalization.weight", {8}), Role::kScale);
  EXPECT_EQ(role("layer1.0.conv1.weight", {8, 3, 3, 3}), Role::kConvolution);
  EXPECT_EQ(role("vision_model.embeddings.position_embedding.weight", {5, 8}), Role::kEmbedding);
  EXPECT_EQ(role("vision_model.embeddings.class_embedding", {8}), Role::kEmbedding);
  EXPECT_EQ(role("model.embed_tokens.weight", {100, 8}), Role::kEmbedding);
  EXPECT_EQ(role("transformer.wte.weight", {100, 8}), Role::kEmbedding);
  EXPECT_EQ(role("shared.weight", {100, 8}), Role::kEmbedding);
  EXPECT_EQ(role("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {32, 4}),
            Role::kEmbedding);
  EXPECT_EQ(role("lm_head.weight", {100, 8}), Role::kMatrix);
  EXPECT_EQ(role("embeddings.LayerNorm.weight", {8}), Role::kScale);
  EXPECT_EQ(role("embeddings.LayerNorm.bias", {8}), Role::kBias);
  EXPECT_EQ(role("encoder.layer.0.output.dense.bias", {8}), Role::kBias);
  EXPECT_EQ(role("bn1.running_var", {8}), Role::kRunningStatistic);
  EXPECT_EQ(role("bn1.num_batches_tracked", {}, at::kLong), Role::kOther);
  EXPECT_EQ(role("embeddings.position_ids", {1, 64}, at::kLong), Role::kOther);
}

}  // namespace
}  // namespace fusegrid
