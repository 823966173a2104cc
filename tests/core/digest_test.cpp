#include "core/digest.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(Sha256, gives_the_published_digests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, of_pieces_is_that_of_the_whole) {
  Sha256 hash;
  hash.update("a");
  hash.update("");
  hash.update("bc");
  EXPECT_EQ(hash.hex(), sha256_hex("abc"));
}

TEST(Sha256OfFile, reads_the_file_and_refuses_a_missing_one) {
  const auto path = std::filesystem::path(testing::TempDir()) / "fusegrid_digest_test.bin";
  const std::string bytes(3'000'001, 'x');  // more than one read
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_EQ(sha256_of_file(path), sha256_hex(bytes));
  std::filesystem::remove(path);
  EXPECT_THROW(sha256_of_file(path), IoError);
}

}  // namespace
}  // namespace fusegrid
