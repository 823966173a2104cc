#include "worker/pack_data.h"

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
  const PackData data(pack_, at::kCPU, kPlenty);
  const Examples first = data.examples("bars", "test", -1);
  EXPECT_EQ(first.images.size(0), 1500);
  EXPECT_EQ(data.examples("bars", "test", 7).images.size(0), 7);
  EXPECT_EQ(data.examples("bars", "test", 7).images.data_ptr(), first.images.data_ptr());
}

TEST_F(PackDataTest, shifts_a_split_as_a_whole_and_once_for_all_that_ask) {
  const PackData data(pack_, at::kCPU, kPlenty);
  const Examples clean = data.examples("bars", "test", -1);
  const Examples shifted = data.shifted("bars", "test", kNoise);
  EXPECT_TRUE(at::equal(shifted.images, apply_shift(kNoise, clean.images, "bars", 0)));
  EXPECT_TRUE(at::equal(shifted.labels, clean.labels));
  EXPECT_EQ(data.shifted("bars", "test", kNoise).images.data_ptr(), shifted.images.data_ptr());
  EXPECT_EQ(data.shifted("bars", "test", "clean").images.data_ptr(), clean.images.data_ptr());
}

TEST_F(PackDataTest, keeps_as_many_shifted_splits_as_it_may) {
  const PackData data(pack_, at::kCPU, 0);
  const Examples shifted = data.shifted("bars", "test", kNoise);
  data.shifted("rows", "test", kNoise);
  const Examples again = data.shifted("bars", "test", kNoise);
  EXPECT_NE(again.images.data_ptr(), shifted.images.data_ptr());
  EXPECT_TRUE(at::equal(again.images, shifted.images));
}

TEST_F(PackDataTest, a_cell_sees_the_shift_on_test_examples_alone) {
  const PackData data(pack_, at::kCPU, kPlenty);
  const CellData seen(data, kNoise);
  EXPECT_EQ(seen.examples("bars", "test", -1).images.data_ptr(),
            data.shifted("bars", "test", kNoise).images.data_ptr());
  EXPECT_EQ(seen.examples("bars", "test", 5).images.size(0), 5);
  for (const std::string split : {"train", "val"}) {
    EXPECT_EQ(seen.examples("bars", split, -1).images.data_ptr(),
              data.examples("bars", split, -1).images.data_ptr());
  }
}

TEST_F(PackDataTest, its_key_is_the_pack_s) {
  const PackData data(pack_, at::kCPU, 0);
  const std::string key = data.key();
  EXPECT_EQ(key, TaskPack(pack_).sha256());
  EXPECT_EQ(CellData(data, kNoise).key(), key);
}

}  // namespace
}  // namespace fusegrid
