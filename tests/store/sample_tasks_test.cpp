// Packs with tasks of the kind sample, right ones and wrong ones.
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "store/task_pack.h"
#include "support/flow_pack.h"
#include "support/temporary_folder.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SampleTasks : public testing::Test {
 protected:
  // What opening and reading says where the pack is changed.
  template <typename Change>
  std::string error(const Change& change) const {
    StoredGroup pack = stored_flow_pack();
    change(pack);
    const auto path = folder_.path() / "pack.h5";
    pack.write(path);
    try {
      TaskPack(path).read("half", "test");
      return "";
    } catch (const DataError& error) {
      return error.what();
    }
  }
  TemporaryFolder folder_;
};

TEST_F(SampleTasks, have_pictures_in_their_channels_with_what_is_asked_for_and_a_judge) {
  const auto path = folder_.path() / "pack.h5";
  stored_flow_pack().write(path);
  const TaskPack pack(path);
  const TaskInfo& task = pack.task("half");
  EXPECT_THAT(task.class_names, ElementsAre("dark", "bright"));
  EXPECT_THAT(task.style_names, ElementsAre("whole", "half"));
  EXPECT_EQ(task.image_channels, 1);
  ASSERT_NE(task.judge, nullptr);
  EXPECT_EQ(task.judge->tensors.at("classifier.weight").sizes().vec(), (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(task.judge->config.at("model_type"), "cnn");
  const Split split = pack.read("half", "test", 1, 3);
  EXPECT_EQ(split.images.sizes().vec(), (std::vector<int64_t>{3, 1, 4, 4}));
  EXPECT_EQ(split.name, "half/test");
  EXPECT_EQ(split.begin, 1);
  EXPECT_EQ(split.conditions[0][0].item<int64_t>(), 1);
  EXPECT_EQ(split.conditions[0][1].item<int64_t>(), 3);
}

TEST_F(SampleTasks, are_refused_where_something_is_missing_or_out_of_range) {
  const auto task = [](StoredGroup& pack) -> StoredGroup& { return pack.groups["tasks"].groups["half"]; };
  EXPECT_EQ(error([](StoredGroup&) {}), "");
  EXPECT_THAT(error([](StoredGroup& pack) { pack.groups.erase("judge"); }), HasSubstr("must have a judge"));
  EXPECT_THAT(error([](StoredGroup& pack) { pack.groups["judge"].arrays["config"] = stored_bytes("{"); }),
              HasSubstr("must be JSON"));
  EXPECT_THAT(error([](StoredGroup& pack) { pack.groups["judge"].arrays["more"] = stored_bytes("x"); }),
              HasSubstr("a judge has config and tensors, and no more"));
  EXPECT_THAT(error([](StoredGroup& pack) {
                pack.groups["judge"].groups["tensors"].arrays["classifier.bias"] =
                    stored<float>({0, std::numeric_limits<float>::infinity(), 0, 0});
              }),
              HasSubstr("must be finite"));
  EXPECT_THAT(error([&](StoredGroup& pack) { task(pack).groups["test"].arrays.erase("styles"); }),
              HasSubstr("has the arrays images, labels, styles and groups"));
  EXPECT_THAT(error([&](StoredGroup& pack) {
                task(pack).groups["test"].arrays["styles"] = stored<uint16_t>({0, 0, 2, 0, 0, 0});
              }),
              HasSubstr("styles must be less than the number of styles, 2, but one is 2"));
  EXPECT_THAT(error([&](StoredGroup& pack) {
                task(pack).arrays["attributes"] = stored_bytes(R"({"classes": ["a", "b"]})");
              }),
              HasSubstr("'styles', but it is missing"));
  EXPECT_THAT(error([&](StoredGroup& pack) {
                task(pack).arrays["attributes"] =
                    stored_bytes(R"({"classes": ["a", "b"], "styles": ["c", "d"], "euler_steps": 0})");
              }),
              HasSubstr("'euler_steps' must be a whole number in [1, 10000]"));
}

}  // namespace
}  // namespace fusegrid::test
