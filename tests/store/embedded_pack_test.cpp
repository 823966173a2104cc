// What the committed task pack promises about its splits, proved on the file itself.
#include <algorithm>
#include <map>
#include <set>
#include <string_view>

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
  EXPECT_EQ(pack.image_size(), 28);
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
