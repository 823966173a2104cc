// Models that tie head and embedding, stored in one file or the other, and what fine-tunes may lack.
#include "merge/tied.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/checkpoints.h"

namespace fusegrid {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

const std::string kEmbedding = "model.embed_tokens.weight";
const std::string kHead = "lm_head.weight";

class Ties : public testing::Test {
 protected:
  at::Tensor table(double first) const { return at::arange(24, at::kFloat).view({6, 4}) + first; }
  void save(const std::string& name, const Weights& weights, const json& config) const {
    save_hf_folder(folder / name, weights, config);
  }
  MergeSpec spec(const std::string& base, const std::vector<std::string>& experts,
                 const std::string& call = "task_arithmetic{scale=1}") const {
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
    return spec;
  }
  HfFolder merged(const MergeSpec& spec, int ranks = 1) const {
    std::filesystem::remove_all(spec.out);
    merge(spec, ranks);
    return HfFolder(spec.out);
  }

  TemporaryFolder folder;
  json tied{{"model_type", "qwen2"}, {"tie_word_embeddings", true}};
  json apart{{"model_type", "qwen2"}, {"tie_word_embeddings", false}};
};

TEST_F(Ties, a_head_that_is_the_embedding_is_no_tensor_of_its_own) {
  save("base", {{kEmbedding, table(0)}}, tied);
  save("base-twice", {{kEmbedding, table(0)}, {kHead, table(0)}}, tied);
  save("once", {{kEmbedding, table(1)}}, tied);
  save("twice", {{kEmbedding, table(2)}, {kHead, table(2)}}, tied);
  for (const std::string base : {"base", "base-twice"}) {
    for (const std::vector<std::string>& experts :
         std::vector<std::vector<std::string>>{{"once", "twice"}, {"twice", "once"}, {"twice"}, {"once"}}) {
      const HfFolder out = merged(spec(base, experts), 2);
      ASSERT_EQ(out.tensors().size(), 1U) << base;
      EXPECT_EQ(out.config().at("tie_word_embeddings"), true);
      EXPECT_EQ(out.read(kEmbedding)[0][0].item<float>(), experts.size() == 2    ? 3
                                                          : experts[0] == "once" ? 1
                                                                                 : 2);
    }
  }
}

TEST_F(Ties, a_head_trained_apart_unties_the_result) {
  save("base", {{kEmbedding, table(0)}}, tied);
  save("once", {{kEmbedding, table(1)}}, tied);
  save("apart", {{kEmbedding, table(2)}, {kHead, table(7)}}, apart);
  const HfFolder out = merged(spec("base", {"apart", "once"}), 2);
  EXPECT_TRUE(out.read(kEmbedding).equal(table(3)));
  EXPECT_TRUE(out.read(kHead).equal(table(8)));
  EXPECT_EQ(out.config().at("tie_word_embeddings"), false);
  // an expert that is tied, on a base that is not
  save("base-apart", {{kEmbedding, table(0)}, {kHead, table(1)}}, apart);
  EXPECT_TRUE(merged(spec("base-apart", {"once"})).read(kHead).equal(table(1)));
}

TEST_F(Ties, the_part_of_a_configuration_that_ties_is_the_one_that_is_untied) {
  const json nested{{"model_type", "gemma3"}, {"text_config", {{"tie_word_embeddings", true}}}};
  const std::string embedding = "language_model.model.embed_tokens.weight";
  const std::string head = "language_model.lm_head.weight";
  save("base", {{embedding, table(0)}}, nested);
  save("apart", {{embedding, table(2)}, {head, table(7)}}, apart);
  const HfFolder out = merged(spec("base", {"apart"}));
  EXPECT_TRUE(out.read(head).equal(table(7)));
  EXPECT_EQ(out.config().at("text_config").at("tie_word_embeddings"), false);
}

TEST_F(Ties, the_head_of_a_base_in_several_files_finds_its_place) {
  save("base", {{kEmbedding, table(0)}, {"z", at::ones({3})}}, tied);
  save("apart", {{kEmbedding, table(2)}, {kHead, table(7)}, {"z", at::ones({3})}}, apart);
  MergeSpec shards = spec("", {"base"}, "passthrough");
  shards.shard_bytes = 1;
  shards.out = folder / "base-in-files";
  merge(shards, 1);
  EXPECT_TRUE(merged(spec("base-in-files", {"apart"})).read(kHead).equal(table(7)));
}

TEST_F(Ties, other_tables_and_biases_are_tied_likewise) {
  const at::Tensor bias = at::arange(6, at::kFloat);
  save("a",
       {{"shared.weight", table(0)},
        {"encoder.embed_tokens.weight", table(0)},
        {"decoder.embed_tokens.weight", table(0)},
        {"lm_head.weight", table(0)},
        {"cls.predictions.bias", bias},
        {"cls.predictions.decoder.bias", bias}},
       tied);
  save("b", {{"shared.weight", table(2)}, {"cls.predictions.bias", bias}}, tied);
  for (const std::vector<std::string>& experts :
       std::vector<std::vector<std::string>>{{"a", "b"}, {"b", "a"}}) {
    const HfFolder out = merged(spec("", experts, "simple_average"));
    EXPECT_EQ(out.tensors().size(), 2U);
    EXPECT_TRUE(out.read("shared.weight").equal(table(1)));
  }
}

TEST_F(Ties, what_models_do_not_agree_on_is_refused_with_the_reason) {
  const auto refusal = [&](const MergeSpec& spec) {
    return message_of<ConfigError>([&] { plan_merge(spec); });
  };
  save("base", {{kEmbedding, table(0)}}, tied);
  save("silent", {{kEmbedding, table(0)}}, {{"model_type", "llama"}});
  save("apart", {{kEmbedding, table(2)}, {kHead, table(7)}}, apart);
  save("contradicts", {{kEmbedding, table(2)}, {kHead, table(7)}}, tied);
  EXPECT_THAT(refusal(spec("silent", {"apart"})),
              AllOf(HasSubstr("lm_head.weight"), HasSubstr("tied embeddings")));
  EXPECT_THAT(refusal(spec("base", {"contradicts"})),
              AllOf(HasSubstr("contradicts"), HasSubstr("tie_word_embeddings = true"), HasSubstr(kHead)));
  // a model with encoder and decoder scales its output where it is tied
  json encoder_decoder = tied;
  encoder_decoder["is_encoder_decoder"] = true;
  save("t5", {{"shared.weight", table(0)}}, encoder_decoder);
  save("t5-apart", {{"shared.weight", table(0)}, {kHead, table(7)}}, apart);
  EXPECT_THAT(refusal(spec("t5", {"t5-apart"})), AllOf(HasSubstr("tied"), HasSubstr("encoder and decoder")));
  // learnt, and by chance like another
  save("norms", {{kEmbedding, table(0)}, {"norm.weight", at::ones({4})}, {"ln.weight", at::ones({4})}}, tied);
  save("norm", {{kEmbedding, table(0)}, {"norm.weight", at::ones({4})}}, tied);
  EXPECT_THAT(refusal(spec("norms", {"norm"})), HasSubstr("lacks ln.weight"));
}

TEST_F(Ties, buffers_that_nobody_learns_may_be_in_one_file_only) {
  const Weights learnt{{"w", table(0)}};
  const Weights buffers{{"layers.0.rotary_emb.inv_freq", at::ones({2})},
                        {"h.0.attn.bias", at::ones({1, 1, 4, 4})},
                        {"h.0.attn.masked_bias", at::full({}, -1e9)},
                        {"embeddings.position_ids", at::arange(8).view({1, 8})},
                        {"bn.num_batches_tracked", at::full({}, 3, at::kLong)}};
  Weights both = learnt;
  both.insert(buffers.begin(), buffers.end());
  save("without", {{"w", table(1)}}, apart);
  save("with", both, apart);
  Weights whole = both;
  whole["h.0.attn.bias"] = whole.at("h.0.attn.bias").to(at::kByte);  // as other versions store it
  save("whole", whole, apart);
  EXPECT_EQ(merged(spec("without", {"with"}), 2).tensors().size(), 1U);
  for (const std::string expert : {"without", "whole"}) {
    MergeSpec converted = spec("with", {expert}, "dare{drop_rate=0.5}");
    converted.dtype = at::kBFloat16;
    const HfFolder out = merged(converted, 2);
    for (const auto& [name, tensor] : buffers) {
      EXPECT_TRUE(out.read(name).equal(tensor)) << name;
      EXPECT_EQ(out.info(name).dtype, tensor.scalar_type()) << name;
    }
  }
}

}  // namespace
}  // namespace fusegrid
