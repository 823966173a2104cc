#include "core/digest.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

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

// Written by Python's hashlib: SHA-256 of kOfPieces' line and of the SHA-256s of the pieces.
TEST(DigestOfFile, is_one_over_pieces_whatever_the_number_of_threads) {
  const TemporaryFolder folder;
  const auto path = folder / "pieces";
  std::ofstream(path, std::ios::binary) << 'a';
  std::filesystem::resize_file(path, 2 * kDigestPiece + 5);  // the rest is zero
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(kDigestPiece) << 'b';
  file.seekp(2 * kDigestPiece) << 'c';
  file.close();
  for (const int threads : {1, 2, 7}) {
    EXPECT_EQ(digest_of_file(path, threads),
              "14b450598298e134ed5b44c54029faf75b3a5cacf3ad36e88c8a354e920dd5ac")
        << threads;
  }
}

TEST(DigestOfFile, of_one_piece_is_its_sha256) {
  const TemporaryFolder folder;
  for (const std::string bytes : {"", "abc"}) {
    std::ofstream(folder / "small", std::ios::binary) << bytes;
    EXPECT_EQ(digest_of_file(folder / "small"), sha256_hex(bytes));
  }
  EXPECT_EQ(num_digest_pieces(kDigestPiece), 1U);
  EXPECT_EQ(num_digest_pieces(kDigestPiece + 1), 2U);
  EXPECT_THROW(digest_of_file(folder / "missing"), IoError);
  EXPECT_THROW(digest_of_file(folder.path()), DataError);
}

}  // namespace
}  // namespace fusegrid
