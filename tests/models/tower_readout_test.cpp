#include "models/tower_readout.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/small_models.h"

namespace fusegrid::tower_readout_test {
namespace {

// A tower of texts whose feature is the entry of a table at the first token. It counts how often it is asked.
class Table final : public Architecture {
 public:
  std::string name() const override { return "table"; }
  InputFormat input() const override { return {.image_size = 2, .vocabulary = 4, .positions = 8}; }
  int64_t feature_size() const override { return 3; }
  int64_t num_tokens() const override { return 1; }
  std::vector<TensorInfo> parameters() const override { return {{"logit_scale", {}}, {"table", {4, 3}}}; }
  std::vector<Layer> layers() const override { return {}; }
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling, const Pass&) const override {
    ++asked;
    return weights.at("table").index_select(0, inputs.tokens.select(1, 0));
  }
  mutable int asked = 0;
};

class PromptReadout : public testing::Test {
 protected:
  static Weights model(double scale = 2) {
    return {{"logit_scale", at::full({}, std::log(scale), at::kFloat)},
            {"table", at::tensor({1.F, 0.F, 0.F, 0.F, 2.F, 0.F, 0.F, 0.F, 3.F, 4.F, 4.F, 0.F}).view({4, 3})}};
  }
  std::shared_ptr<Table> table_ = std::make_shared<Table>();
  // Class 0: tokens 0 and 1; class 1: token 2, twice.
  std::shared_ptr<const Readout> readout_ =
      prompt_readout(table_, {at::tensor({0, 1, 2, 2}, at::kLong).view({2, 2, 1}),
                              at::tensor({1, 1, 1, 1}, at::kLong).view({2, 2})});
  at::Tensor features_ = at::tensor({5.F, 0.F, 0.F, 0.F, 0.F, 7.F}).view({2, 3});
};

TEST_F(PromptReadout, rows_are_units_of_the_mean_of_the_units_of_prompts) {
  const at::NoGradGuard no_grad;
  const at::Tensor logits = (*readout_)(model(), features_);
  const auto half = static_cast<float>(2 / std::sqrt(2.0));
  EXPECT_LE(max_error(logits, at::tensor({half, 0.F, 0.F, 2.F}).view({2, 2})), 1e-6);
  EXPECT_EQ(readout_->outputs(), 2);
  EXPECT_EQ(readout_->features(), 3);
}

TEST_F(PromptReadout, rows_of_a_model_are_made_once_until_it_changes) {
  const at::NoGradGuard no_grad;
  Weights one = model();
  (*readout_)(one, features_);
  const int once = table_->asked;
  (*readout_)(one, features_);
  EXPECT_EQ(table_->asked, once);
  one.at("table").mul_(-1);
  const at::Tensor changed = (*readout_)(one, features_);
  EXPECT_GT(table_->asked, once) << "in place";
  EXPECT_LT(changed[0][0].item<float>(), 0);
  const int twice = table_->asked;
  (*readout_)(model(), features_);
  EXPECT_GT(table_->asked, twice) << "another model";
}

TEST_F(PromptReadout, models_that_are_gone_are_no_others) {
  const at::NoGradGuard no_grad;
  for (int i = 1; i <= 20; ++i) {
    const Weights one = model(i);
    Weights turned = one;
    turned.at("table") = one.at("table").roll(i, 0);
    EXPECT_TRUE((*readout_)(turned, features_)
                    .equal((*prompt_readout(table_, {at::tensor({0, 1, 2, 2}, at::kLong).view({2, 2, 1}),
                                                     at::tensor({1, 1, 1, 1}, at::kLong).view({2, 2})}))(
                        turned, features_)));
  }
}

TEST_F(PromptReadout, gradients_flow_through_the_tower_of_texts) {
  Weights leaves = model();
  for (auto& [name, tensor] : leaves) {
    tensor.requires_grad_(true);
  }
  (*readout_)(leaves, features_).sum().backward();
  EXPECT_TRUE(leaves.at("table").grad().defined());
  EXPECT_NE(leaves.at("logit_scale").grad().item<float>(), 0);
  EXPECT_NE(leaves.at("table").grad().abs().sum().item<float>(), 0);
}

TEST_F(PromptReadout, needs_a_model) {
  EXPECT_THROW((*readout_)({}, features_), ConfigError);
}

TEST(PairReadout, products_of_its_rows_are_logits) {
  const Weights model{{"logit_scale", at::full({}, std::log(10.0), at::kFloat)}};
  const at::Tensor features = at::tensor({3.F, 4.F, 0.F, 2.F}).view({1, 2, 2});
  const at::Tensor rows = (*pair_readout(2))(model, features);
  EXPECT_LE(max_error(rows, at::tensor({6.F, 8.F, 0.F, 1.F}).view({1, 2, 2})), 1e-5);
  EXPECT_LE(max_error((*pair_readout(2))({}, features), at::tensor({.6F, .8F, 0.F, 1.F}).view({1, 2, 2})),
            1e-6);
  EXPECT_EQ(pair_readout(2)->outputs(), 2);
}

}  // namespace
}  // namespace fusegrid::tower_readout_test
