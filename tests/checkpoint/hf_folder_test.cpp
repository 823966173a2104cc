#include "checkpoint/hf_folder.h"

#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/random_weights.h"
#include "checkpoint/safetensors_writer.h"
#include "core/digest.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kIndex = "model.safetensors.index.json";

Weights small_weights() {
  return {{"text_model.a", at::arange(3)},
          {"vision_model.b", at::arange(4).to(at::kHalf)},
          {"vision_model.c", at::arange(5).to(at::kFloat)}};
}

// Two shards and an index; `edit` spoils the index before it is written.
void write_sharded(
    const TemporaryFolder& folder, const std::function<void(json&)>& edit = [](json&) {}) {
  const Weights weights = small_weights();
  write_text(folder / "config.json", "{}");
  write_safetensors(folder / "s-1.safetensors", {*weights.begin()});
  write_safetensors(folder / "s-2.safetensors", {std::next(weights.begin()), weights.end()});
  json index = {{"metadata", {{"total_size", 24 + 8 + 20}}},
                {"weight_map",
                 {{"text_model.a", "s-1.safetensors"},
                  {"vision_model.b", "s-2.safetensors"},
                  {"vision_model.c", "s-2.safetensors"}}}};
  edit(index);
  write_text(folder / kIndex, index.dump());
}

template <typename Expected>
std::string rejection(const std::filesystem::path& path, HfFolderOptions options = {}) {
  return message_of<Expected>([&] { HfFolder(path, options); });
}

TEST(HfFolder, reads_what_was_saved) {
  const TemporaryFolder folder;
  save_hf_folder(folder / "m", small_weights(), {{"hidden_size", 7}},
                 {{"preprocessor_config.json", R"({"size":32})"}, {"README.md", "text"}});
  const HfFolder saved(folder / "m");
  EXPECT_EQ(saved.config().at("hidden_size"), 7);
  ASSERT_TRUE(saved.preprocessor_config().has_value());
  EXPECT_EQ(saved.preprocessor_config()->at("size"), 32);
  EXPECT_EQ(read_text(folder / "m/README.md"), "text");
  EXPECT_TRUE(same_bits(saved.read_all(), small_weights()));
  EXPECT_THAT(folder.names(), ElementsAre("m"));
}

TEST(HfFolder, reads_shards_like_one_file) {
  const TemporaryFolder folder;
  write_sharded(folder);
  const HfFolder sharded(folder.path());
  EXPECT_FALSE(sharded.preprocessor_config().has_value());
  EXPECT_TRUE(same_bits(sharded.read_all(), small_weights()));
  EXPECT_TRUE(same_bits(sharded.read("vision_model.c"), small_weights().at("vision_model.c")));
  float part[2];
  sharded.read_range("vision_model.c", 3, 2, part);
  EXPECT_THAT(part, ElementsAre(3.0F, 4.0F));
}

TEST(HfFolder, lists_tensors_by_name) {
  const TemporaryFolder folder;
  write_sharded(folder);
  const HfFolder sharded(folder.path());
  ASSERT_EQ(sharded.tensors().size(), 3U);
  EXPECT_EQ(sharded.tensors()[0].name, "text_model.a");
  EXPECT_EQ(sharded.tensors()[1].dtype, at::kHalf);
  EXPECT_EQ(sharded.info("vision_model.c").shape, (std::vector<int64_t>{5}));
  EXPECT_TRUE(sharded.contains("text_model.a"));
  EXPECT_FALSE(sharded.contains("text_model"));
  EXPECT_THAT(message_of<DataError>([&] { sharded.info("text_model"); }),
              HasSubstr("has no tensor 'text_model'"));
}

TEST(HfFolder, reads_only_the_names_with_a_prefix) {
  const TemporaryFolder folder;
  write_sharded(folder);
  const Weights vision = HfFolder(folder.path()).read_all("vision_model.");
  EXPECT_EQ(vision.size(), 2U);
  EXPECT_TRUE(vision.contains("vision_model.b"));
}

TEST(HfFolder, digest_depends_on_the_tensors_and_not_on_the_files) {
  const TemporaryFolder one;
  const TemporaryFolder two;
  write_sharded(one);
  save_hf_folder(two / "m", small_weights(), {{"other", 1}});
  EXPECT_EQ(HfFolder(one.path()).digest(), digest(small_weights()));
  EXPECT_EQ(HfFolder(two / "m").digest(), digest(small_weights()));
}

TEST(HfFolder, refuses_names_that_leave_the_folder) {
  for (const std::string& shard : std::vector<std::string>{
           "../s-2.safetensors", "/etc/passwd", "/tmp/s-2.safetensors", "a/s-2.safetensors", "..", "",
           ".s-2.safetensors", "s-2.bin", "s\n.safetensors", std::string(300, 's') + ".safetensors"}) {
    const TemporaryFolder folder;
    write_sharded(folder, [&](json& index) { index["weight_map"]["vision_model.c"] = shard; });
    EXPECT_THAT(rejection<DataError>(folder.path()), HasSubstr("weight_map must name files of the folder"))
        << shard;
  }
}

TEST(HfFolder, refuses_an_index_that_disagrees_with_the_shards) {
  const auto message = [](const std::function<void(json&)>& edit) {
    const TemporaryFolder folder;
    write_sharded(folder, edit);
    return rejection<DataError>(folder.path());
  };
  EXPECT_THAT(message([](json& i) { i["weight_map"]["vision_model.c"] = "s-1.safetensors"; }),
              HasSubstr("'vision_model.c'"));
  EXPECT_THAT(message([](json& i) { i["weight_map"].erase("vision_model.c"); }),
              HasSubstr("also holds 'vision_model.c'"));
  EXPECT_THAT(message([](json& i) { i["weight_map"]["d"] = "s-2.safetensors"; }), HasSubstr("lacks 'd'"));
  EXPECT_THAT(message([](json& i) { i["weight_map"]["d"] = "s-3.safetensors"; }),
              HasSubstr("s-3.safetensors' is missing"));
  EXPECT_THAT(message([](json& i) { i["weight_map"]["d"] = 3; }), HasSubstr("for 'd' it has '3'"));
  EXPECT_THAT(message([](json& i) { i.erase("weight_map"); }), HasSubstr("must have the object weight_map"));
  EXPECT_THAT(message([](json& i) { i = json::array(); }), HasSubstr("must have the object weight_map"));
}

TEST(HfFolder, accepts_an_index_whatever_its_total_size_says) {
  for (const json& metadata :
       {json(), json(3), json::object(), json{{"total_size", 52.0}}, json{{"total_size", "52"}},
        json{{"total_size", 53}}, json{{"total_size", -1}}, json{{"total_size", nullptr}}}) {
    const TemporaryFolder folder;
    write_sharded(folder, [&](json& index) { index["metadata"] = metadata; });
    EXPECT_EQ(HfFolder(folder.path()).tensors().size(), 3U) << metadata;
  }
  const TemporaryFolder folder;
  write_sharded(folder, [](json& index) { index.erase("metadata"); });
  EXPECT_EQ(HfFolder(folder.path()).tensors().size(), 3U);
}

TEST(HfFolder, refuses_a_tensor_in_two_shards) {
  const TemporaryFolder folder;
  write_sharded(folder);
  write_safetensors(folder / "s-1.safetensors",
                    {{"text_model.a", at::arange(3)}, {"vision_model.b", at::arange(4)}});
  EXPECT_THAT(rejection<DataError>(folder.path()),
              AllOf(HasSubstr("s-1.safetensors"), HasSubstr("also holds 'vision_model.b'")));
}

TEST(HfFolder, refuses_an_index_that_names_a_tensor_twice) {
  const TemporaryFolder folder;
  write_sharded(folder);
  write_text(folder / kIndex, R"({"weight_map":{"a":"s-1.safetensors","a":"s-2.safetensors"}})");
  EXPECT_THAT(rejection<DataError>(folder.path()), HasSubstr("has 'a' twice"));
}

TEST(HfFolder, refuses_broken_deep_and_large_json) {
  const TemporaryFolder folder;
  write_sharded(folder);
  for (const auto& [text, rule] :
       std::map<std::string, std::string>{{"{", "must be JSON"},
                                          {"", "must be JSON"},
                                          {std::string(1'000'000, '['), "nest at most 64 levels"},
                                          {std::string((16U << 20) + 1, ' '), "at most 16777216 bytes"}}) {
    write_text(folder / "config.json", text);
    EXPECT_THAT(rejection<DataError>(folder.path()), HasSubstr(rule));
  }
}

TEST(HfFolder, refuses_symbolic_links_unless_they_are_allowed_and_stay_inside) {
  const TemporaryFolder outside;
  const TemporaryFolder folder;
  write_sharded(folder);
  std::filesystem::rename(folder / "s-2.safetensors", folder / "blob");
  std::filesystem::create_symlink("blob", folder / "s-2.safetensors");
  EXPECT_THAT(rejection<ConfigError>(folder.path()), HasSubstr("is a symbolic link"));
  EXPECT_TRUE(same_bits(HfFolder(folder.path(), {.allow_symlinks = true}).read_all(), small_weights()));

  std::filesystem::rename(folder / "blob", outside / "blob");
  std::filesystem::remove(folder / "s-2.safetensors");
  std::filesystem::create_symlink(outside / "blob", folder / "s-2.safetensors");
  EXPECT_THAT(rejection<ConfigError>(folder.path(), {.allow_symlinks = true}), HasSubstr("leads to"));
  EXPECT_THAT(rejection<ConfigError>(folder.path()), HasSubstr("is a symbolic link"));
}

TEST(HfFolder, follows_the_links_of_a_hub_cache) {
  const TemporaryFolder cache;
  std::filesystem::create_directories(cache / "models--a/blobs");
  std::filesystem::create_directories(cache / "models--a/snapshots/1");
  write_text(cache / "models--a/blobs/x", "{}");
  write_safetensors(cache / "models--a/blobs/y", small_weights());
  std::filesystem::create_symlink("../../blobs/x", cache / "models--a/snapshots/1/config.json");
  std::filesystem::create_symlink("../../blobs/y", cache / "models--a/snapshots/1/model.safetensors");
  const HfFolder folder(cache / "models--a/snapshots/1", {.allow_symlinks = true});
  EXPECT_EQ(folder.tensors().size(), 3U);

  std::filesystem::rename(cache / "models--a/blobs/y", cache / "y");
  std::filesystem::remove(cache / "models--a/snapshots/1/model.safetensors");
  std::filesystem::create_symlink("../../../y", cache / "models--a/snapshots/1/model.safetensors");
  EXPECT_THAT(rejection<ConfigError>(folder.path(), {.allow_symlinks = true}), HasSubstr("leads to"));
}

TEST(HfFolder, refuses_pickle_and_says_how_to_convert) {
  const TemporaryFolder folder;
  write_text(folder / "config.json", "{}");
  EXPECT_THAT(rejection<ConfigError>(folder.path()), HasSubstr("holds neither"));
  write_text(folder / "pytorch_model.bin", "");
  EXPECT_THAT(rejection<ConfigError>(folder.path()),
              AllOf(HasSubstr("pytorch_model.bin' is a pickle file"), HasSubstr("safe_serialization=True")));
  write_safetensors(folder / "model.safetensors", small_weights());
  EXPECT_EQ(HfFolder(folder.path()).tensors().size(), 3U) << "the pickle beside it is not read";
}

TEST(HfFolder, refuses_what_is_no_checkpoint) {
  const TemporaryFolder folder;
  EXPECT_THAT(rejection<ConfigError>(folder / "absent"), HasSubstr("does not exist"));
  EXPECT_THAT(rejection<ConfigError>(folder.path()), HasSubstr("config.json"));
  write_sharded(folder);
  write_safetensors(folder / "model.safetensors", {});
  EXPECT_THAT(rejection<ConfigError>(folder.path()), HasSubstr("holds both"));
}

TEST(SaveHfFolder, gives_the_same_bytes_again) {
  const TemporaryFolder folder;
  for (const auto* name : {"a", "b"}) {
    save_hf_folder(folder / name, small_weights(), {{"z", 1}, {"a", 0.1}});
  }
  for (const auto* file : {"config.json", "model.safetensors"}) {
    EXPECT_EQ(read_text(folder / "a" / file), read_text(folder / "b" / file));
  }
  EXPECT_EQ(SafetensorsFile(folder / "a/model.safetensors").metadata().at("format"), "pt")
      << "without it transformers refuses the file";
}

TEST(SaveHfFolder, never_overwrites) {
  const TemporaryFolder folder;
  save_hf_folder(folder / "m", small_weights(), {});
  EXPECT_THAT(message_of<ConfigError>([&] { save_hf_folder(folder / "m", {}, {}); }), HasSubstr("exists"));
  EXPECT_TRUE(same_bits(HfFolder(folder / "m").read_all(), small_weights()));
}

TEST(SaveHfFolder, leaves_nothing_behind_when_it_fails) {
  const TemporaryFolder folder;
  const auto save = [&](const Weights& weights, const std::map<std::string, std::string>& files) {
    return message_of<ConfigError>([&] { save_hf_folder(folder / "m/", weights, {}, files); });
  };
  EXPECT_THAT(save({{"a\n", at::arange(3)}}, {}), HasSubstr("cannot be written"));
  for (const std::string& name : std::vector<std::string>{"../x", "config.json", "", ".x", "a/b"}) {
    EXPECT_THAT(save({}, {{name, ""}}), HasSubstr("plain name of its own"));
  }
  EXPECT_THAT(folder.names(), ElementsAre());
}

}  // namespace
}  // namespace fusegrid
