// Zoos of models that make tokens themselves, and so have no heads.
#include <fstream>

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "support/small_models.h"
#include "support/stored_file.h"
#include "support/temporary_folder.h"
#include "zoo/bindings.h"
#include "zoo/examples.h"
#include "zoo/training.h"
#include "zoo/zoo.h"

namespace fusegrid::token_zoo_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

json tiny_t5() {
  return {{"model_type", "t5"}, {"d_model", 8},     {"d_kv", 3},
          {"d_ff", 12},         {"num_layers", 1},  {"num_heads", 2},
          {"vocab_size", 6},    {"n_positions", 8}, {"decoder_start_token_id", 0}};
}

json tiny_bert() {
  return {{"model_type", "bert"},        {"hidden_size", 8}, {"intermediate_size", 12},
          {"num_hidden_layers", 1},      {"vocab_size", 6},  {"num_attention_heads", 2},
          {"max_position_embeddings", 8}};
}

class TokenZoo : public testing::Test {
 protected:
  TokenZoo() {
    write_models(tiny_t5());
    write_pack("generate");
  }
  // Base and expert.
  void write_models(const json& config) const {
    const auto architecture = make_architecture(config);
    Weights weights = random_weights(*architecture, at::kFloat);
    for (const std::string model : {"base", "expert"}) {
      fs::remove_all(folder_ / model);
      save_hf_folder(folder_ / model, weights, config);
      weights.begin()->second.add_(0.25);
    }
  }
  // Of one task with two examples a split.
  void write_pack(const std::string& kind) const {
    const bool answers = kind == "generate";
    test::StoredGroup split = test::stored_split(2);
    split.add_rows("tokens", {{2, 3, 1}, {4, 1}});
    if (answers) {
      split.add_rows("answers", {{3, 4, 1}, {2, 1}});
    } else {
      split.arrays["labels"] = test::stored<uint16_t>({0, 1});
    }
    test::StoredGroup task =
        test::stored_task(kind, answers ? R"({"answer_start": 0, "answer_end": 1, "longest_answer": 3})"
                                        : R"({"classes": ["a", "b"]})");
    task.groups = {{"train", split}, {"val", split}, {"test", split}};
    test::StoredGroup pack = test::stored_pack({{"spell", task}});
    pack.groups["tokens"] = test::stored_tokens();
    pack.write(folder_ / "pack.h5");
  }
  void write_heads() const {
    write_safetensors(folder_ / "heads.safetensors", {{"spell.weight", at::ones({2, 8})}});
  }

  ImportRequest request() const {
    return {.folder = folder_ / "mine",
            .scale = "tiny",
            .suite = "tiny",
            .base = folder_ / "base",
            .experts = {{"spell", folder_ / "expert"}},
            .heads = "",
            .pack = folder_ / "pack.h5"};
  }
  ImportRequest with_heads() const {
    ImportRequest request = this->request();
    request.heads = folder_ / "heads.safetensors";
    return request;
  }
  static std::string refusal(const ImportRequest& request) {
    return message_of<ConfigError>([&] { import_zoo(request); });
  }
  json description() const { return json::parse(std::ifstream(folder_ / "mine" / "zoo.json")); }
  void describe(const json& written) const { write_text(folder_ / "mine" / "zoo.json", written.dump()); }

  TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(TokenZoo, IsImportedWithoutHeads) {
  const Zoo zoo = import_zoo(request());
  EXPECT_TRUE(zoo.replicates.at(0).heads.empty());
  EXPECT_EQ(zoo.pooling, Pooling::kNone);
  EXPECT_EQ(zoo.tokenizer_sha256, sha256_hex("{}"));
  EXPECT_THAT(verify(zoo), IsEmpty());
}

TEST_F(TokenZoo, HasADescriptionWithoutHeads) {
  import_zoo(request());
  const json written = description();
  EXPECT_FALSE(written["replicates"][0].contains("heads"));
  const Zoo zoo = Zoo::load(folder_ / "mine");
  EXPECT_TRUE(zoo.replicates.at(0).heads.empty());
  EXPECT_EQ(zoo.pooling, Pooling::kNone);
  EXPECT_THAT(verify(zoo), IsEmpty());
  zoo.save();
  EXPECT_EQ(description(), written);
}

TEST_F(TokenZoo, AnswersUnderItsOwnHead) {
  import_zoo(request());
  const Zoo zoo = Zoo::load(folder_ / "mine");
  const LoadedReplicate loaded = load_replicate(zoo, zoo.replicate(0), {"spell"}, false, at::kCPU);
  const Readout& readout = loaded.network.readout("spell");
  EXPECT_EQ(readout.outputs(), 6);
  EXPECT_EQ(readout.features(), 8);
  EXPECT_EQ(readout.pooling(), Pooling::kNone);
  const TaskPack pack(zoo.pack);
  const Examples examples = examples_of(pack.read("spell", "test"), pack.tokens(), at::kCPU);
  EXPECT_EQ(examples.wanted_lengths.sum().item<int64_t>(), 5);
  EXPECT_EQ(examples.wanted[0][2].item<int64_t>(), 1);
  const auto kind = kind_of(pack.task("spell"), pack.tokens());
  const Answers answers = evaluate(loaded.network, loaded.experts.at("spell"), "spell", *kind, examples);
  EXPECT_TRUE(answers.finite);
  EXPECT_TRUE(answers.metrics.contains("exact_match"));
}

TEST_F(TokenZoo, HasBindingsThatFollowItsModels) {
  const Zoo zoo = import_zoo(request());
  const auto before = replicate_bindings(zoo, zoo.replicate(0));
  EXPECT_EQ(before.at("mine/0/base"), zoo.replicate(0).digests.at("base"));
  json config = tiny_t5();
  config["layer_norm_epsilon"] = 1e-3;
  write_models(config);
  EXPECT_NE(replicate_bindings(zoo, zoo.replicate(0)).at("mine/0/config"), before.at("mine/0/config"));
}

TEST_F(TokenZoo, TasksOfClassesAskForHeads) {
  write_pack("classify");
  EXPECT_THAT(
      refusal(request()),
      HasSubstr("task 'spell' is of the kind classify, which asks for a head, but the zoo has none; name a "
                "heads file"));
}

TEST_F(TokenZoo, TasksOfTokensAskForNone) {
  write_models(tiny_bert());
  write_heads();
  EXPECT_THAT(
      refusal(with_heads()),
      HasSubstr("task 'spell' is of the kind generate, whose answers are tokens, but the zoo has heads; "
                "leave them out"));
}

TEST_F(TokenZoo, ModelsThatMakeNoTokensAskForHeads) {
  write_models(tiny_bert());
  EXPECT_THAT(refusal(request()),
              HasSubstr("the zoo has no heads, and its models, of the architecture bert, hold "
                        "none; name a heads file"));
}

TEST_F(TokenZoo, APackForModelsThatBeginAnswersOtherwiseIsRefused) {
  json config = tiny_t5();
  config["decoder_start_token_id"] = 2;
  write_models(config);
  EXPECT_THAT(refusal(request()),
              HasSubstr("answers of task 'spell' begin with the token 0, but those of the models "
                        "with 2; use the task pack"));
}

TEST_F(TokenZoo, APackForLargerModelsIsRefused) {
  json config = tiny_t5();
  config["vocab_size"] = 4;
  write_models(config);
  EXPECT_THAT(refusal(request()), HasSubstr("has 5 token ids, but the models have 4"));
  config = tiny_t5();
  config["n_positions"] = 2;
  write_models(config);
  EXPECT_THAT(refusal(request()),
              AllOf(HasSubstr("rows of at most 2 tokens"), HasSubstr("task 'spell' are up to 3")));
}

TEST_F(TokenZoo, VerifyingFindsAPackOfAnotherKind) {
  const Zoo zoo = import_zoo(request());
  write_pack("classify");
  Zoo without_digest = zoo;
  without_digest.pack_sha256 = "";
  EXPECT_THAT(verify(without_digest), ElementsAre(HasSubstr("which asks for a head")));
  EXPECT_THAT(verify(zoo), ElementsAre(HasSubstr("is not the one that the zoo was made with")));
}

TEST_F(TokenZoo, ADescriptionWithAPoolingForHeadsThatAreNotThereIsAnError) {
  import_zoo(request());
  json written = description();
  written["pooling"] = "mean";
  describe(written);
  EXPECT_THAT(message_of<DataError>([&] { Zoo::load(folder_ / "mine"); }),
              HasSubstr("the pooling must be none where the models have no heads, but it is mean, and seed 0 "
                        "has no heads"));
}

}  // namespace
}  // namespace fusegrid::token_zoo_test
