#include "worker/pack_data.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "tasks/shift.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

constexpr int64_t kPlenty = int64_t{1} << 30;
const std::string kNoise = "gaussian_noise-3";

class PackDataTest : public testing::Test {
 protected:
  PackDataTest() { test::write_tiny_pack(folder_ / "pack.h5", 20, 1500); }  // more than are shifted at a time

  TemporaryFolder folder_;
  fs::path pack_ = folder_ / "pack.h5";
};

TEST_F(PackDataTest, reads_a_split_once) {
  const PackData data(pack_, at::kCPU, {.shifted = kPlenty});
  const Examples first = data.examples("bars", "test", -1);
  EXPECT_EQ(first.inputs.images.size(0), 1500);
  EXPECT_EQ(data.examples("bars", "test", 7).inputs.images.size(0), 7);
  EXPECT_EQ(data.examples("bars", "test", 7).inputs.images.data_ptr(), first.inputs.images.data_ptr());
}

// A device that holds no values stands for a GPU.
TEST_F(PackDataTest, splits_are_on_the_device_as_long_as_they_fit_into_its_share) {
  const auto bytes =
      static_cast<int64_t>(PackData(pack_, at::kCPU, {}).examples("bars", "test", -1).inputs.images.nbytes());
  const PackData data(pack_, at::kMeta, {.resident = bytes});
  const Examples first = data.examples("bars", "test", -1);
  EXPECT_EQ(first.inputs.images.device(), at::kMeta);
  EXPECT_EQ(first.labels.device(), at::kMeta);
  const Examples beyond = data.examples("rows", "test", -1);
  EXPECT_EQ(beyond.inputs.images.device(), at::kCPU);
  EXPECT_EQ(beyond.labels.device(), at::kCPU);
}

TEST_F(PackDataTest, shifts_a_split_as_a_whole_and_once_for_all_that_ask) {
  const PackData data(pack_, at::kCPU, {.shifted = kPlenty});
  const Examples clean = data.examples("bars", "test", -1);
  const Examples shifted = data.shifted("bars", "test", kNoise);
  EXPECT_TRUE(at::equal(shifted.inputs.images, shifted_images(kNoise, clean.inputs.images, "bars", 0)));
  EXPECT_TRUE(at::equal(shifted.labels, clean.labels));
  EXPECT_EQ(data.shifted("bars", "test", kNoise).inputs.images.data_ptr(), shifted.inputs.images.data_ptr());
  EXPECT_EQ(data.shifted("bars", "test", "clean").inputs.images.data_ptr(), clean.inputs.images.data_ptr());
}

TEST_F(PackDataTest, shifts_rows_of_tokens) {
  test::write_text_pack(folder_ / "texts.h5");
  const PackData data(folder_ / "texts.h5", at::kCPU, {.shifted = kPlenty});
  const Examples clean = data.examples("bars", "test", -1);
  const Examples shifted = data.shifted("bars", "test", "dropped_words-5");
  EXPECT_TRUE(shifted.inputs.tokens.defined());
  EXPECT_EQ(shifted.inputs.size(), clean.inputs.size());
  EXPECT_TRUE(at::equal(shifted.labels, clean.labels));
  EXPECT_FALSE(shifted.inputs.images.defined());
  EXPECT_EQ(data.shifted("bars", "test", "dropped_words-5").inputs.tokens.data_ptr(),
            shifted.inputs.tokens.data_ptr());
}

TEST_F(PackDataTest, keeps_as_many_shifted_splits_as_it_may) {
  const PackData data(pack_, at::kCPU, {.shifted = 0});
  const Examples shifted = data.shifted("bars", "test", kNoise);
  data.shifted("rows", "test", kNoise);
  const Examples again = data.shifted("bars", "test", kNoise);
  EXPECT_NE(again.inputs.images.data_ptr(), shifted.inputs.images.data_ptr());
  EXPECT_TRUE(at::equal(again.inputs.images, shifted.inputs.images));
}

TEST_F(PackDataTest, a_cell_sees_the_shift_on_test_examples_alone) {
  const PackData data(pack_, at::kCPU, {.shifted = kPlenty});
  const CellData seen(data, kNoise);
  EXPECT_EQ(seen.examples("bars", "test", -1).inputs.images.data_ptr(),
            data.shifted("bars", "test", kNoise).inputs.images.data_ptr());
  EXPECT_EQ(seen.examples("bars", "test", 5).inputs.images.size(0), 5);
  for (const std::string split : {"train", "val"}) {
    EXPECT_EQ(seen.examples("bars", split, -1).inputs.images.data_ptr(),
              data.examples("bars", split, -1).inputs.images.data_ptr());
  }
}

TEST_F(PackDataTest, shows_shifted_inputs_of_either_split_to_what_adapts_on_them) {
  const PackData data(pack_, at::kCPU, {.shifted = 1 << 20});
  for (const std::string split : {"val", "test"}) {
    const at::Tensor seen = CellData(data, kNoise).inputs_to_adapt_on("bars", split).images;
    EXPECT_TRUE(seen.equal(data.shifted("bars", split, kNoise).inputs.images));
    EXPECT_FALSE(seen.equal(data.examples("bars", split, -1).inputs.images));
    EXPECT_TRUE(CellData(data, "clean")
                    .inputs_to_adapt_on("bars", split)
                    .images.equal(data.examples("bars", split, -1).inputs.images));
  }
}

TEST_F(PackDataTest, has_the_key_that_was_seen_while_the_file_is_the_same) {
  const SeenPack seen{pack_stamp(pack_), "seen"};
  const PackData data(pack_, at::kCPU, {}, seen);
  EXPECT_EQ(data.key(), "seen");
  test::write_tiny_pack(folder_ / "new.h5", 21, 1500);
  fs::rename(folder_ / "new.h5", pack_);
  EXPECT_EQ(data.key(), "seen") << "it is asked for once";
  EXPECT_EQ(PackData(pack_, at::kCPU, {}, seen).key(), TaskPack(pack_).sha256());
}

TEST_F(PackDataTest, reads_texts_as_rows_of_tokens) {
  test::write_text_pack(pack_);
  const PackData data(pack_, at::kCPU, {.shifted = 0});
  const Examples texts = data.examples("bars", "test", -1);
  EXPECT_FALSE(texts.inputs.images.defined());
  EXPECT_EQ(texts.inputs.lengths.sum().item<int64_t>(), 2 + 1);
  EXPECT_EQ(texts.inputs.tokens.select(1, 0).sum().item<int64_t>(), 2 + 4);
  EXPECT_EQ(texts.labels.sum().item<int64_t>(), 0 + 1);
  EXPECT_EQ(&data.kind("bars"), &task_kind("classify"));
}

TEST_F(PackDataTest, its_key_is_the_pack_s) {
  const PackData data(pack_, at::kCPU, {.shifted = 0});
  const std::string key = data.key();
  EXPECT_EQ(key, TaskPack(pack_).sha256());
  EXPECT_EQ(CellData(data, kNoise).key(), key);
}

}  // namespace
}  // namespace fusegrid
