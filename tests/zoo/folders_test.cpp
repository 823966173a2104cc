#include "zoo/folders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/digest.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::Key;

TEST(ModelFolders, HaveFilesBesideTheirWeights) {
  const TemporaryFolder folder;
  for (const auto* name : {"config.json", "provenance.json", "tokenizer.json", "vocab.txt",
                           "model.safetensors", "head.safetensors", "training_args.bin"}) {
    write_text(folder / name, name);
  }
  std::filesystem::create_directory(folder / "1_Pooling");
  EXPECT_THAT(files_beside_weights(folder.path()), ElementsAre(Key("tokenizer.json"), Key("vocab.txt")));
  EXPECT_EQ(files_beside_weights(folder.path()).at("vocab.txt"), "vocab.txt");
  EXPECT_EQ(tokenizer_digest(folder.path()), sha256_hex("tokenizer.json"));
  EXPECT_EQ(tokenizer_digest(folder / "1_Pooling"), "");
}

TEST(ModelFolders, WithoutAReadableOriginHaveNone) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_provenance(folder.path()), nlohmann::json::object());
  write_text(folder / "provenance.json", "[1]");
  EXPECT_EQ(read_provenance(folder.path()), nlohmann::json::object());
  write_text(folder / "provenance.json", R"({"seed": 3})");
  EXPECT_EQ(read_provenance(folder.path()).at("seed"), 3);
}

}  // namespace
}  // namespace fusegrid
