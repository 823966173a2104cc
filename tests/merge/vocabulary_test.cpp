#include "merge/vocabulary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/checkpoints.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;
using testing::Not;

// A model of `tokens` tokens whose values begin at `first`.
Weights model(int64_t tokens, double first, int64_t width = 4) {
  const auto values = [&](const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t size : shape) {
      count *= size;
    }
    return at::arange(count, at::kFloat).view(shape) + first;
  };
  return {{"model.embed_tokens.weight", values({tokens, 4})},
          {"lm_head.weight", values({tokens, 4})},
          {"lm_head.bias", values({tokens})},
          {"final_logits_bias", values({1, tokens})},
          {"turned.weight", values({4, tokens})},
          {"model.norm.weight", values({width})}};
}

// Of another number of tokens: the first of `own`, the rest of `reference`.
at::Tensor fitted(const at::Tensor& own, const at::Tensor& reference) {
  at::Tensor result = reference.clone();
  at::Tensor to = result;
  at::Tensor from = own;
  for (int64_t i = 0; i < own.dim(); ++i) {
    const int64_t size = std::min(own.size(i), reference.size(i));
    to = to.narrow(i, 0, size);
    from = from.narrow(i, 0, size);
  }
  to.copy_(from);
  return result;
}

class Vocabularies : public testing::Test {
 protected:
  void save(const std::string& name, const Weights& weights, at::ScalarType dtype = at::kFloat) const {
    save_hf_folder(folder / name, converted(weights, dtype), {{"model_type", "phi"}});
  }
  MergeSpec spec(const std::string& base, const std::vector<std::string>& experts,
                 const std::string& call) const {
    MergeSpec spec;
    if (!base.empty()) {
      spec.base = folder / base;
    }
    for (const std::string& expert : experts) {
      spec.experts.push_back({expert, folder / expert});
    }
    auto [method, parameters] = parse_call(call);
    spec.methods = {{method, parameters}};
    spec.out = folder / "out";
    spec.allow_vocabulary_mismatch = true;
    return spec;
  }

  TemporaryFolder folder;
};

TEST_F(Vocabularies, all_that_is_numbered_by_tokens_goes_along) {
  const Weights base = model(8, 0);
  save("base", base);
  for (const int64_t tokens : {7, 9}) {
    const Weights expert = model(tokens, 100);
    const std::string name = "expert" + std::to_string(tokens);
    save(name, expert);
    for (const int ranks : {1, 3}) {
      const MergeSpec merged = spec("base", {name}, "task_arithmetic{scale=1}");
      std::filesystem::remove_all(merged.out);
      merge(merged, ranks);
      for (const auto& [tensor, values] : base) {
        EXPECT_TRUE(HfFolder(merged.out).read(tensor).equal(fitted(expert.at(tensor), values)))
            << tensor << tokens;
      }
    }
  }
}

TEST_F(Vocabularies, without_a_base_the_first_expert_is_the_reference) {
  const Weights large = model(9, 0);
  const Weights small = model(8, 10);
  save("large", large);
  save("small", small, at::kBFloat16);
  for (const std::vector<std::string>& order :
       std::vector<std::vector<std::string>>{{"large", "small"}, {"small", "large"}}) {
    const Weights& first = order[0] == "large" ? large : small;
    const Weights& second = order[0] == "large" ? small : large;
    const MergeSpec merged = spec("", order, "simple_average");
    std::filesystem::remove_all(merged.out);
    merge(merged, 2);
    for (const auto& [tensor, values] : first) {
      const at::Tensor mean = (values + fitted(second.at(tensor), values)) / 2;
      const HfFolder out(merged.out);
      EXPECT_TRUE(out.read(tensor).equal(mean.to(out.info(tensor).dtype))) << tensor;
    }
  }
  const MergeSpec alike = spec("", {"small"}, "passthrough");
  std::filesystem::remove_all(alike.out);
  merge(alike, 1);
  EXPECT_EQ(folder_digest(alike.out), folder_digest(folder / "small"));
}

TEST_F(Vocabularies, whole_numbers_of_tokens_are_the_reference_s) {
  Weights base = model(8, 0);
  Weights expert = model(9, 100);
  base["model.counts"] = at::arange(8, at::kLong);
  expert["model.counts"] = at::arange(9, at::kLong) + 50;
  save_hf_folder(folder / "base", base, {{"model_type", "phi"}});
  save_hf_folder(folder / "expert", expert, {{"model_type", "phi"}});
  MergeSpec merged = spec("base", {"expert"}, "task_arithmetic");
  merge(merged, 2);
  EXPECT_TRUE(HfFolder(merged.out).read("model.counts").equal(base.at("model.counts")));
  expert["model.counts"] = at::arange(5, at::kLong);
  std::filesystem::remove_all(folder / "expert");
  std::filesystem::remove_all(merged.out);
  save_hf_folder(folder / "expert", expert, {{"model_type", "phi"}});
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(merged); }),
              testing::AllOf(HasSubstr("'model.counts'"), Not(HasSubstr("--allow-vocabulary-mismatch"))));
}

TEST_F(Vocabularies, a_bias_beside_padded_rows_goes_along) {
  // tokens without padding: 6 of the base, 7 of the experts, whose rows are as many or more
  Weights base = model(8, 0);
  base["lm_head.bias"] = base.at("lm_head.bias").slice(0, 0, 6).contiguous();
  base["final_logits_bias"] = base.at("final_logits_bias").slice(1, 0, 6).contiguous();
  save("base", base);
  for (const int64_t rows : {8, 10}) {
    Weights expert = model(rows, 100);
    expert["lm_head.bias"] = expert.at("lm_head.bias").slice(0, 0, 7).contiguous();
    expert["final_logits_bias"] = expert.at("final_logits_bias").slice(1, 0, 7).contiguous();
    const std::string name = "expert" + std::to_string(rows);
    save(name, expert);
    MergeSpec merged = spec("base", {name}, "task_arithmetic{scale=1}");
    std::filesystem::remove_all(merged.out);
    merged.allow_vocabulary_mismatch = false;
    EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(merged); }),
                HasSubstr("--allow-vocabulary-mismatch"));
    merged.allow_vocabulary_mismatch = true;
    merge(merged, 2);
    for (const auto& [tensor, values] : base) {
      EXPECT_TRUE(HfFolder(merged.out).read(tensor).equal(fitted(expert.at(tensor), values)))
          << tensor << rows;
    }
    std::filesystem::remove_all(merged.out);
  }
  Weights longer = model(8, 100);  // than its matrix has rows: of no tokens
  longer["lm_head.bias"] = at::arange(9, at::kFloat);
  save("longer", longer);
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(spec("base", {"longer"}, "task_arithmetic")); }),
              HasSubstr("'lm_head.bias' must have one shape"));
}

TEST_F(Vocabularies, the_option_is_recommended_where_it_helps_and_only_there) {
  save("base", model(8, 0));
  save("more", model(9, 0));
  save("wide", model(8, 0, 5));
  MergeSpec strict = spec("base", {"more"}, "task_arithmetic");
  strict.allow_vocabulary_mismatch = false;
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(strict); }), HasSubstr("--allow-vocabulary-mismatch"));
  for (const bool allowed : {false, true}) {
    MergeSpec wide = spec("base", {"wide"}, "task_arithmetic");
    wide.allow_vocabulary_mismatch = allowed;
    EXPECT_THAT(
        message_of<ConfigError>([&] { plan_merge(wide); }),
        testing::AllOf(HasSubstr("'model.norm.weight'"), Not(HasSubstr("--allow-vocabulary-mismatch"))));
  }
}

}  // namespace
}  // namespace fusegrid
