// What the committed task pack promises about its splits, proved on the file itself.
#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <ATen/ops/sum.h>
#include <gtest/gtest.h>

#include "core/digest.h"
#include "store/task_pack.h"
#include "support.h"
#include "support/source_folder.h"

namespace fusegrid::test {
namespace {

const fs::path& pack_path() {
  static const fs::path path = source_folder() / "data" / "embedded.h5";
  return path;
}

const std::vector<std::string>& splits() {
  static const std::vector<std::string> names = {"train", "val", "test"};
  return names;
}

std::set<int64_t> values_of(const at::Tensor& tensor) {
  const auto* begin = tensor.const_data_ptr<int64_t>();
  return {begin, begin + tensor.numel()};
}

std::set<std::string> digests_of(const at::Tensor& images) {
  std::set<std::string> digests;
  const auto bytes = static_cast<size_t>(images.numel() / images.size(0));
  const auto* begin = reinterpret_cast<const char*>(images.const_data_ptr<uint8_t>());
  for (int64_t i = 0; i < images.size(0); ++i) {
    digests.insert(sha256_hex(std::string_view(begin + static_cast<size_t>(i) * bytes, bytes)));
  }
  return digests;
}

template <typename T>
int64_t num_common(const std::set<T>& a, const std::set<T>& b) {
  return std::count_if(a.begin(), a.end(), [&](const T& value) { return b.contains(value); });
}

class EmbeddedPack : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fs::exists(pack_path())) << pack_path() << " is part of the repository";
  }
};

TEST_F(EmbeddedPack, IsSmallEnoughToBeCommitted) {
  EXPECT_LE(fs::file_size(pack_path()), 20'000'000U);
}

TEST_F(EmbeddedPack, HasEightTasks) {
  const TaskPack pack(pack_path());
  EXPECT_EQ(pack.suite(), "embedded8");
  EXPECT_EQ(pack.tasks().size(), 8U);
  for (const auto& task : pack.tasks()) {
    EXPECT_EQ(task.kind, "classify");
    EXPECT_EQ(task.image_height, 28);
    EXPECT_EQ(task.image_width, 28);
  }
}

// Read from Python independently: of the first example label and group, of all images the sum of their pixels.
TEST_F(EmbeddedPack, HoldsTheseExamples) {
  struct Known {
    std::string task, split;
    int64_t examples = 0, label = 0, group = 0, channels = 0, pixels = 0;
  };
  const TaskPack pack(pack_path());
  for (const Known& known : {Known{"cyrillic32", "train", 4000, 20, 3938403714, 1, 137271877},
                             Known{"mnist", "val", 800, 4, 1826670064, 1, 21259028},
                             Known{"svdigits", "test", 800, 9, 524406456, 3, 136126417},
                             Known{"terrain10", "test", 759, 0, 443685953, 3, 179088224}}) {
    SCOPED_TRACE(known.task);
    const Split split = pack.read(known.task, known.split);
    EXPECT_EQ(split.images.size(0), known.examples);
    EXPECT_EQ(split.labels[0].item<int64_t>(), known.label);
    EXPECT_EQ(split.groups[0].item<int64_t>(), known.group);
    EXPECT_EQ(split.images.sum().item<int64_t>(), known.pixels * 3 / known.channels);
  }
  EXPECT_EQ(pack.task("cyrillic32").class_names[1], "\u0431");
}

TEST_F(EmbeddedPack, EveryClassIsInEverySplit) {
  const TaskPack pack(pack_path());
  for (const auto& task : pack.tasks()) {
    for (const auto& split : splits()) {
      EXPECT_EQ(values_of(pack.read(task.name, split).labels).size(), task.class_names.size())
          << task.name << " " << split;
    }
  }
}

TEST_F(EmbeddedPack, NoGroupAndNoImageIsInTwoSplitsOfATask) {
  const TaskPack pack(pack_path());
  for (const auto& task : pack.tasks()) {
    std::map<std::string, std::set<int64_t>> groups;
    std::map<std::string, std::set<std::string>> images;
    for (const auto& name : splits()) {
      const Split split = pack.read(task.name, name);
      groups[name] = values_of(split.groups);
      images[name] = digests_of(split.images);
    }
    for (const auto& [a, b] : {std::pair("train", "val"), {"train", "test"}, {"val", "test"}}) {
      EXPECT_EQ(num_common(groups[a], groups[b]), 0) << task.name << ": groups in " << a << " and " << b;
      EXPECT_EQ(num_common(images[a], images[b]), 0) << task.name << ": images in " << a << " and " << b;
    }
  }
}

}  // namespace
}  // namespace fusegrid::test
