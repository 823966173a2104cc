// Tasks whose targets are maps: arrays, attributes, and what is refused.
#include <functional>
#include <limits>

#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/task_pack.h"
#include "support.h"
#include "support/stored_file.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Two images of 1 x 2 pixels.
StoredGroup map_task(const std::string& kind, const std::string& attributes, const std::string& array,
                     const StoredArray& map) {
  StoredGroup split = stored_split(2);
  split.arrays["images"] = stored_images({2, 3, 1, 2});
  split.arrays[array] = map;
  StoredGroup task = stored_task(kind, attributes);
  for (const auto* name : {"train", "val", "test"}) {
    task.groups[name] = split;
  }
  return task;
}

StoredGroup map_pack() {
  return stored_pack(
      {{"classes", map_task("segment", R"({"classes": ["a", "b"], "ignore": 9})", "map_classes",
                            {std::vector<uint16_t>{0, 9, 1, 1}, {2, 1, 2}})},
       {"depths", map_task("depth", R"({"mean": 2.5, "sd": 0.5})", "map_depth",
                           {std::vector<float>{1.5, kNaN, 2, 3}, {2, 1, 2}})},
       {"normals",
        map_task("normals", "{}", "map_normals",
                 {std::vector<float>{0.6F, kNaN, 0, kNaN, 0.8F, kNaN, 0, 1, 1, 0, 0, 0}, {2, 3, 1, 2}})}});
}

class MapTasks : public testing::Test {
 protected:
  TaskPack open(const StoredGroup& pack) {
    pack.write(path_);
    return TaskPack(path_);
  }
  // The message of the error from opening the pack after a change of one task, or else from reading it.
  std::string error(const std::string& task, const std::function<void(StoredGroup& task)>& change) {
    StoredGroup pack = map_pack();
    change(pack.groups["tasks"].groups[task]);
    pack.write(path_);
    return error_of<DataError>([&] { TaskPack(path_).read(task, "train"); });
  }
  std::string map_error(const std::string& task, const std::string& array, const StoredArray& map) {
    return error(task, [&](StoredGroup& group) { group.groups["train"].arrays[array] = map; });
  }
  std::string attributes_error(const std::string& task, const std::string& attributes) {
    return error(task, [&](StoredGroup& group) { group.arrays["attributes"] = stored_bytes(attributes); });
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "pack.h5";
};

TEST_F(MapTasks, are_read_as_they_are_stored) {
  const TaskPack pack = open(map_pack());
  EXPECT_THAT(pack.task("classes").class_names, ElementsAre("a", "b"));
  EXPECT_EQ(pack.task("classes").image_width, 2);
  const at::Tensor classes = pack.read("classes", "val").maps;
  EXPECT_EQ(classes.sizes(), (std::vector<int64_t>{2, 1, 2}));
  const auto* of_pixel = classes.const_data_ptr<int32_t>();
  EXPECT_THAT(std::vector<int32_t>(of_pixel, of_pixel + 4), ElementsAre(0, 9, 1, 1));

  const at::Tensor depths = pack.read("depths", "test", 0, 1).maps;
  EXPECT_EQ(depths.sizes(), (std::vector<int64_t>{1, 1, 2}));
  EXPECT_EQ(depths.const_data_ptr<float>()[0], 1.5);
  EXPECT_TRUE(std::isnan(depths.const_data_ptr<float>()[1]));

  const at::Tensor normals = pack.read("normals", "train").maps;
  EXPECT_EQ(normals.sizes(), (std::vector<int64_t>{2, 3, 1, 2}));
  EXPECT_EQ(normals.const_data_ptr<float>()[4], 0.8F);
  EXPECT_TRUE(std::isnan(normals.const_data_ptr<float>()[5]));
}

TEST_F(MapTasks, are_left_out_of_marks) {
  const Split marks = open(map_pack()).read_marks("depths", "train");
  EXPECT_FALSE(marks.maps.defined() || marks.images.defined() || marks.labels.defined());
  EXPECT_EQ(marks.groups.size(0), 2);
}

TEST_F(MapTasks, have_a_value_for_each_pixel) {
  EXPECT_THAT(
      map_error("classes", "map_classes", {std::vector<uint16_t>{0, 0, 1, 1}, {2, 2, 1}}),
      HasSubstr("map_classes: there must be values for each pixel of the images, in the shape [2, 1, 2], but "
                "it is [2, 2, 1]"));
  EXPECT_THAT(map_error("normals", "map_normals", {std::vector<float>(4, 1), {2, 1, 2}}),
              HasSubstr("in the shape [2, 3, 1, 2], but it is [2, 1, 2]"));
  EXPECT_THAT(error("depths", [](StoredGroup& task) { task.groups["val"].arrays.erase("map_depth"); }),
              HasSubstr("a split of the kind depth has the arrays images, map_depth and groups"));
  EXPECT_THAT(error("depths", [](StoredGroup& task) { task.groups["train"].arrays.erase("images"); }),
              HasSubstr("has the arrays images, map_depth and groups"));
}

TEST_F(MapTasks, have_values_that_mean_something) {
  EXPECT_THAT(map_error("classes", "map_classes", {std::vector<uint16_t>{0, 2, 1, 1}, {2, 1, 2}}),
              HasSubstr("classes must be less than their number, 2, or 'ignore', 9, but one is 2"));
  for (const float depth : {0.0F, -1.0F, std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(map_error("depths", "map_depth", {std::vector<float>{1, 1, depth, 1}, {2, 1, 2}}),
                HasSubstr("depths must be above 0 and finite, or NaN where nothing is known, but one is "));
  }
  const auto message = [&](const std::vector<float>& first_column) {
    std::vector<float> map(12, 0);
    map[0] = first_column[0];
    map[2] = first_column[1];
    map[4] = first_column[2];
    map[1] = map[6] = map[7] = 1;
    return map_error("normals", "map_normals", {map, {2, 3, 1, 2}});
  };
  EXPECT_THAT(message({0.6F, 0.6F, 0}),
              HasSubstr("normals must be of length 1, or NaN where nothing is known"));
  EXPECT_THAT(message({1, kNaN, kNaN}), HasSubstr("but the length of one is nan"));
}

TEST_F(MapTasks, have_attributes_that_mean_something) {
  EXPECT_THAT(attributes_error("classes", R"({"classes": ["a"]})"),
              HasSubstr("'classes' must be a list of 2"));
  EXPECT_THAT(attributes_error("classes", R"({"classes": ["a", "b"], "ignore": -1})"),
              HasSubstr("'ignore' must be a whole number in [0, 65535], but it is -1"));
  EXPECT_THAT(attributes_error("depths", R"({"mean": "far"})"),
              HasSubstr("'mean' must be a number, but it is \"far\""));
  EXPECT_THAT(attributes_error("depths", R"({"sd": 0})"), HasSubstr("'sd' must be above 0, but it is 0"));
}

}  // namespace
}  // namespace fusegrid::test
