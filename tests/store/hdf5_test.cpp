#include "store/hdf5.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Ranges that lie in one chunk, cross several (64 KiB each), and are everything or nothing.
TEST(Hdf5, ReadsRangesOfRows) {
  const TemporaryFolder folder;
  constexpr int64_t kRows = 100'000;
  std::vector<uint16_t> values(3 * kRows);
  std::iota(values.begin(), values.end(), uint16_t{0});
  {
    auto file = hdf5::File::create();
    file.root().create_array<uint16_t>("rows", values, {kRows, 3});
    write_bytes(folder / "file.h5", file.finish());
  }
  const auto file = hdf5::File::open(folder / "file.h5");
  const auto rows = file.root().dataset("rows");
  EXPECT_THAT(rows.read<uint16_t>(2, 1), ElementsAre(6, 7, 8));
  EXPECT_THAT(rows.read<uint16_t>(kRows, 0), IsEmpty());
  EXPECT_EQ(rows.read<uint16_t>(), values);
  EXPECT_EQ(rows.read<uint16_t>(1'000, 60'000),
            std::vector<uint16_t>(values.begin() + 3'000, values.begin() + 183'000));
  EXPECT_THAT(error_of<DataError>([&] { rows.read<uint32_t>(0, 1); }),
              HasSubstr("/rows: its elements must be unsigned integers of 32 bits"));
}

TEST(Hdf5, RefusesDataThatTheFileCannotHoldAndLinksOutOfIt) {
  const TemporaryFolder folder;
  const fs::path path = folder / "file.h5";
  {  // 2^40 elements of which nothing was ever written, in a file of a few hundred bytes
    const hdf5::Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
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
  const auto file = hdf5::File::open(path);
  EXPECT_THAT(error_of<DataError>([&] { file.root().dataset("huge"); }), HasSubstr("claims more data"));
  EXPECT_THAT(error_of<DataError>([&] { file.root().dataset("outside"); }), HasSubstr("hard links"));
}

}  // namespace
}  // namespace fusegrid::test
