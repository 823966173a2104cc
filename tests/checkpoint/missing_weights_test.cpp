// Folders whose weights are missing or have other names.
#include "checkpoint/missing_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/folder_files.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string message_for(const std::vector<std::string>& files) {
  const TemporaryFolder folder;
  for (const std::string& file : files) {
    write_text(folder / file, "x");
  }
  return message_of<ConfigError>([&] { fail_without_weights(folder.path()); });
}

TEST(MissingWeights, shards_without_their_index_are_named) {
  EXPECT_THAT(
      message_for({"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "optimizer.pt"}),
      AllOf(HasSubstr("'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'"),
            HasSubstr("index"), Not(HasSubstr("optimizer"))));
}

TEST(MissingWeights, weights_under_other_names_are_named) {
  for (const std::string file : {"consolidated.safetensors", "model.fp16.safetensors", "unet.safetensors"}) {
    EXPECT_THAT(message_for({file, "training_args.bin", "pytorch_model.bin"}),
                AllOf(HasSubstr("'" + file + "'"), HasSubstr("rename"), Not(HasSubstr("pickle"))));
  }
  EXPECT_THAT(message_for({"adapter_model.safetensors"}), HasSubstr("adapter_config.json"));
  EXPECT_THAT(message_for({"model-q4.gguf"}), AllOf(HasSubstr("'model-q4.gguf'"), HasSubstr("convert")));
}

TEST(MissingWeights, pickles_are_blamed_where_they_are_the_weights) {
  EXPECT_THAT(message_for({"pytorch_model.bin", "optimizer.pt"}),
              HasSubstr("pytorch_model.bin' is a pickle"));
  EXPECT_THAT(message_for({"optimizer.pt", "rng_state_0.pth", "scheduler.bin", "random_states_1.pkl"}),
              AllOf(HasSubstr("holds neither"), Not(HasSubstr("pickle"))));
}

TEST(FolderEntry, tells_what_belongs_to_a_model) {
  const std::vector<std::pair<FolderEntry, std::vector<std::string>>> kinds{
      {FolderEntry::kModel,
       {"tokenizer.json", "merges.txt", "LICENSE", "modeling_x.py", "1_Pooling", "special tokens.txt",
        "spiece.model", "__init__.py", "tokenizer.pkl", "sentence_bert_config.json", "optimizer_notes.md"}},
      {FolderEntry::kWeights,
       {"model.safetensors", "MODEL.SAFETENSORS", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
        "tf_model.h5", "model.onnx", "pytorch_model.bin.index.json", "model.safetensors.index.json", "x.gguf",
        "model.safetensors.index.fp16.json"}},
      {FolderEntry::kTrainer,
       {"optimizer.pt",
        "optimizer.bin",
        "optimizer_0",
        "optimizer-00001-of-00002.safetensors",
        "rng_state_3.pth",
        "random_states_0.pkl",
        "scheduler.pt",
        "scaler.pt",
        "trainer_state.json",
        "training_args.bin",
        "latest",
        "events.out.tfevents.17.host",
        "checkpoint-500",
        "global_step12",
        "pytorch_model_fsdp_0",
        "runs",
        "wandb",
        "train.log",
        "zero_to_fp32.py",
        "all_results.json"}},
      {FolderEntry::kTool, {".git", ".cache", ".DS_Store", "__pycache__"}}};
  for (const auto& [kind, names] : kinds) {
    for (const std::string& name : names) {
      EXPECT_EQ(folder_entry(name), kind) << name;
    }
  }
}

}  // namespace
}  // namespace fusegrid
