#include "store/task_pack.h"

#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/hdf5.h"
#include "support.h"

namespace fusegrid::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kSize = 4;

// What a test may change of a small, right pack.
struct PackPlan {
  std::string format = "fusegrid-task-pack";
  int64_t version = 1;
  int64_t image_size = kSize;
  int64_t channels = 1;
  std::vector<int64_t> shape;  // of the train images; empty: [6, channels, 4, 4]
  std::vector<uint16_t> labels = {0, 1, 2, 0, 1, 2};
  std::vector<uint32_t> groups = {5, 5, 6, 6, 7, 7};
  std::vector<std::string> class_names = {"a", "b", "c"};
  int64_t examples = 6;
  std::string missing;  // task attribute that is left out
};

void write_split(hdf5::Group split, const PackPlan& plan, const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    count *= extent;
  }
  std::vector<uint8_t> images(static_cast<size_t>(count));
  for (size_t i = 0; i < images.size(); ++i) {
    images[i] = static_cast<uint8_t>(i % 251);
  }
  split.create_array<uint8_t>("images", images, shape);
  split.create_array("labels", plan.labels);
  split.create_array("groups", plan.groups);
  split.set_attribute("examples", plan.examples);
}

void write_pack(const fs::path& path, const PackPlan& plan) {
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", plan.format);
    root.set_attribute("version", plan.version);
    root.set_attribute("suite", "tiny");
    root.set_attribute("image_size", plan.image_size);
    auto task = root.create_group("tasks").create_group("letters");
    for (const auto* name : {"title", "licence", "source", "group_meaning", "split_rule"}) {
      if (plan.missing != name) {
        task.set_attribute(name, std::string("the ") + name);
      }
    }
    task.create_texts("class_names", plan.class_names);
    for (const auto* name : {"train", "val", "test"}) {
      const bool changed = !plan.shape.empty() && std::string(name) == "train";
      write_split(task.create_group(name), plan,
                  changed ? plan.shape : std::vector<int64_t>{6, plan.channels, kSize, kSize});
    }
  }
  write_bytes(path, file.finish());
}

class TaskPackFile : public testing::Test {
 protected:
  // The message of the error from opening the pack and reading its train split.
  std::string error(const PackPlan& plan) {
    write_pack(path_, plan);
    return error_of<DataError>([&] { TaskPack(path_).read("letters", "train"); });
  }
  TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "pack.h5";
};

TEST_F(TaskPackFile, ReadsInfoAndRepeatsGrayImages) {
  write_pack(path_, {});
  const TaskPack pack(path_);
  EXPECT_EQ(pack.suite(), "tiny");
  EXPECT_EQ(pack.image_size(), kSize);
  ASSERT_EQ(pack.tasks().size(), 1U);
  const TaskInfo& task = pack.task("letters");
  EXPECT_EQ(task.title, "the title");
  EXPECT_EQ(task.class_names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(task.examples.at("val"), 6);
  const Split split = pack.read("letters", "train");
  ASSERT_EQ(split.images.sizes(), (std::vector<int64_t>{6, 3, kSize, kSize}));
  ASSERT_TRUE(split.images.is_contiguous());
  const auto* pixels = split.images.const_data_ptr<uint8_t>();
  for (int64_t channel = 0; channel < 3; ++channel) {
    EXPECT_EQ(pixels[48 + channel * 16 + 3], 19);  // example 1, pixel 3 of its only channel
  }
  EXPECT_EQ(split.labels.scalar_type(), at::kLong);
  EXPECT_EQ(split.labels.const_data_ptr<int64_t>()[2], 2);
  EXPECT_EQ(split.groups.const_data_ptr<int64_t>()[5], 7);
  EXPECT_EQ(pack.sha256().size(), 64U);
}

TEST_F(TaskPackFile, ReadsColourImagesAsTheyAre) {
  PackPlan plan;
  plan.channels = 3;
  write_pack(path_, plan);
  const auto images = TaskPack(path_).read("letters", "test").images;
  EXPECT_EQ(images.const_data_ptr<uint8_t>()[48 + 17], 65);
}

TEST_F(TaskPackFile, RefusesWhatIsNoPackOfThisVersion) {
  PackPlan plan;
  plan.format = "something";
  EXPECT_THAT(error(plan), HasSubstr("'fusegrid-task-pack', but it is 'something'"));
  plan = {};
  plan.version = 2;
  EXPECT_THAT(error(plan), HasSubstr("version 2"));
  plan = {};
  plan.missing = "licence";
  EXPECT_THAT(error(plan), HasSubstr("'licence' is missing"));
  EXPECT_THROW(TaskPack(folder_.path() / "none.h5"), IoError);
}

TEST_F(TaskPackFile, RefusesPartsThatDisagree) {
  PackPlan plan;
  plan.labels[3] = 3;
  EXPECT_THAT(error(plan), HasSubstr("less than the number of classes, 3, but one is 3"));
  plan = {};
  plan.labels.pop_back();
  EXPECT_THAT(error(plan), HasSubstr("labels: there must be one entry for each of the 6 images"));
  plan = {};
  plan.groups.push_back(1);
  EXPECT_THAT(error(plan), HasSubstr("groups: there must be one entry"));
  plan = {};
  plan.examples = 7;
  EXPECT_THAT(error(plan), HasSubstr("'examples' says 7"));
  plan = {};
  plan.class_names = {"a", "a", "c"};
  EXPECT_THAT(error(plan), HasSubstr("class names must be different"));
  plan = {};
  plan.shape = {0, 1, kSize, kSize};
  EXPECT_THAT(error(plan), HasSubstr("at least one example"));
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{6, 2, kSize, kSize}, {6, 1, kSize, kSize + 1}, {6, 16}}) {
    plan.shape = shape;
    EXPECT_THAT(error(plan), HasSubstr("images must have the shape [examples, 1 or 3, 4, 4]"));
  }
}

TEST_F(TaskPackFile, RefusesHostileSizes) {
  PackPlan plan;
  for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
    plan.image_size = size;
    EXPECT_THAT(error(plan), HasSubstr("image_size must be in [1, 4096]"));
  }
}

// A dataset of 2^40 elements of which nothing was ever written, in a file of a few hundred bytes.
TEST_F(TaskPackFile, RefusesDataThatTheFileCannotHold) {
  {
    const hdf5::Handle file(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    const hsize_t extents[2] = {1 << 20, 1 << 20};
    const hdf5::Handle space(H5Screate_simple(2, extents, nullptr), H5Sclose);
    const hdf5::Handle list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const hsize_t chunk[2] = {16, 16};
    H5Pset_chunk(list.get(), 2, chunk);
    const hdf5::Handle data(
        H5Dcreate2(file.get(), "huge", H5T_STD_U8LE, space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT),
        H5Dclose);
    H5Lcreate_external("/etc/hostname", "/x", file.get(), "outside", H5P_DEFAULT, H5P_DEFAULT);
  }
  const auto file = hdf5::File::open(path_);
  EXPECT_THAT(error_of<DataError>([&] { file.root().dataset("huge"); }), HasSubstr("claims more data"));
  EXPECT_THAT(error_of<DataError>([&] { file.root().dataset("outside"); }), HasSubstr("hard links"));
}

TEST_F(TaskPackFile, UnknownNamesListTheKnownOnes) {
  write_pack(path_, {});
  const TaskPack pack(path_);
  EXPECT_THAT(error_of<ConfigError>([&] { pack.task("leters"); }), HasSubstr("did you mean 'letters'?"));
  EXPECT_THAT(error_of<ConfigError>([&] { pack.read("letters", "tests"); }), HasSubstr("train, val, test"));
}

void write_pool(const fs::path& path, const std::string& kind, double share, int64_t classes) {
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", "fusegrid-pretraining-pool");
    root.set_attribute("version", int64_t{1});
    root.set_attribute("image_size", int64_t{2});
    auto source = root.create_group("sources").create_group("lower");
    source.set_attribute("kind", kind);
    source.set_attribute("share", share);
    source.set_attribute("classes", classes);
    source.create_array<uint8_t>("images", std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8}, {2, 1, 2, 2});
    source.create_array("labels", std::vector<uint16_t>{0, 1});
  }
  write_bytes(path, file.finish());
}

TEST(PretrainingPool, ReadsItsSources) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "pool.h5";
  write_pool(path, "mask", 0.75, 2);
  const auto sources = read_pretraining_pool(path);
  ASSERT_EQ(sources.size(), 1U);
  EXPECT_EQ(sources[0].name, "lower");
  EXPECT_TRUE(sources[0].mask);
  EXPECT_EQ(sources[0].share, 0.75);
  EXPECT_EQ(sources[0].images.sizes(), (std::vector<int64_t>{2, 1, 2, 2}));
  EXPECT_EQ(sources[0].images.const_data_ptr<uint8_t>()[7], 8);
  EXPECT_EQ(sources[0].labels.const_data_ptr<int64_t>()[1], 1);
}

TEST(PretrainingPool, RefusesWhatDisagrees) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "pool.h5";
  const auto message = [&](const std::string& kind, double share, int64_t classes) {
    write_pool(path, kind, share, classes);
    return error_of<DataError>([&] { read_pretraining_pool(path); });
  };
  EXPECT_THAT(message("rgb", 0.5, 2), HasSubstr("3 channels"));
  EXPECT_THAT(message("audio", 0.5, 2), HasSubstr("mask or rgb"));
  EXPECT_THAT(message("mask", 1.5, 2), HasSubstr("share must be in (0, 1]"));
  EXPECT_THAT(message("mask", 0.5, 1), HasSubstr("2 to 65536 classes"));
}

}  // namespace
}  // namespace fusegrid::test
