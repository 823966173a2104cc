#include "zoo/pack_digest.h"

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/digest.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kSomeDigest(64, 'a');

// A file does for a pack: nothing here looks into it.
class PackDigest : public testing::Test {
 protected:
  PackDigest() {
    zoo_.folder = folder_ / "zoo";
    fs::create_directory(zoo_.folder);
    zoo_.pack = folder_ / "pack.h5";
    write("a pack");
  }
  void write(const std::string& bytes) const { std::ofstream(zoo_.pack, std::ios::binary) << bytes; }
  void write_record(const FileStamp& stamp, const std::string& digest) const {
    std::ofstream(pack_record(zoo_)) << nlohmann::json(SeenPack{stamp, digest});
  }
  // What would be recorded after two seconds.
  static void wait_until_old() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }
  // As a run asks for it.
  std::string digest() {
    warnings_.str("");
    std::string digest = pack_digest(zoo_, warnings_);
    record_pack_digest(zoo_, warnings_);
    return digest;
  }

  TemporaryFolder folder_;
  Zoo zoo_;
  std::ostringstream warnings_;
};

TEST_F(PackDigest, is_recorded_beside_the_zoo_and_taken_from_there) {
  wait_until_old();
  EXPECT_EQ(digest(), sha256_hex("a pack"));
  const auto recorded = nlohmann::json::parse(std::ifstream(pack_record(zoo_))).get<SeenPack>();
  EXPECT_EQ(recorded.digest, sha256_hex("a pack"));
  EXPECT_EQ(recorded.stamp, pack_stamp(zoo_.pack));
  EXPECT_EQ(seen_pack(zoo_).value().digest, recorded.digest);
  fs::rename(zoo_.pack, folder_ / "moved.h5");  // of which this process knows nothing
  zoo_.pack = folder_ / "moved.h5";
  write_record(pack_stamp(zoo_.pack), kSomeDigest);
  EXPECT_EQ(digest(), kSomeDigest) << "was read again";
  EXPECT_EQ(seen_pack(zoo_).value().digest, kSomeDigest);
  EXPECT_THAT(warnings_.str(), IsEmpty());
}

TEST_F(PackDigest, is_recorded_only_where_that_is_asked_for) {
  wait_until_old();
  EXPECT_EQ(pack_digest(zoo_, warnings_), sha256_hex("a pack"));
  EXPECT_TRUE(fs::is_empty(zoo_.folder));
  EXPECT_EQ(digest(), sha256_hex("a pack"));
  EXPECT_TRUE(fs::exists(pack_record(zoo_)));
}

TEST_F(PackDigest, of_a_young_file_is_not_recorded) {
  EXPECT_EQ(digest(), sha256_hex("a pack"));
  EXPECT_FALSE(fs::exists(pack_record(zoo_)));
  EXPECT_FALSE(seen_pack(zoo_).has_value());
}

// A byte is changed, and whatever a program can put back is put back.
TEST_F(PackDigest, of_a_changed_file_is_another) {
  write_record(pack_stamp(zoo_.pack), sha256_hex("a pack"));
  EXPECT_EQ(digest(), sha256_hex("a pack"));
  const auto modified = fs::last_write_time(zoo_.pack);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  write("b pack");
  fs::last_write_time(zoo_.pack, modified);
  EXPECT_EQ(digest(), sha256_hex("b pack"));
}

TEST_F(PackDigest, each_part_of_the_stamp_counts) {
  const FileStamp stamp = pack_stamp(zoo_.pack);
  for (int64_t FileStamp::*part : {&FileStamp::size, &FileStamp::modified_ns, &FileStamp::changed_ns}) {
    FileStamp other = stamp;
    ++(other.*part);
    write_record(other, kSomeDigest);
    EXPECT_EQ(digest(), sha256_hex("a pack"));
  }
  write_record({stamp.size, stamp.modified_ns, stamp.changed_ns, stamp.inode + 1}, kSomeDigest);
  EXPECT_EQ(digest(), sha256_hex("a pack"));
}

TEST_F(PackDigest, that_is_not_the_zoos_is_read_again) {
  write_record(pack_stamp(zoo_.pack), kSomeDigest);
  zoo_.pack_sha256 = sha256_hex("a pack");
  EXPECT_EQ(digest(), zoo_.pack_sha256);
}

TEST_F(PackDigest, a_damaged_record_is_told_and_written_anew) {
  for (const std::string damaged : {"", "{", "[]", R"({"size": 6})", R"({"size": "six"})"}) {
    std::ofstream(pack_record(zoo_)) << damaged;
    fs::copy_file(zoo_.pack, folder_ / "copy.h5",
                  fs::copy_options::overwrite_existing);  // unknown to this process
    fs::rename(folder_ / "copy.h5", zoo_.pack);
    EXPECT_EQ(digest(), sha256_hex("a pack"));
    EXPECT_THAT(warnings_.str(), HasSubstr("pack_digest.json' is damaged")) << damaged;
  }
  wait_until_old();
  EXPECT_EQ(digest(), sha256_hex("a pack"));
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(pack_record(zoo_))).get<SeenPack>().stamp,
            pack_stamp(zoo_.pack));
}

TEST_F(PackDigest, a_record_that_cannot_be_written_is_told) {
  wait_until_old();
  fs::create_directories(pack_record(zoo_) / "in the way");
  EXPECT_EQ(digest(), sha256_hex("a pack"));
  EXPECT_THAT(warnings_.str(), HasSubstr("the next start reads the pack again"));
  EXPECT_TRUE(seen_pack(zoo_).has_value()) << "this process need not read it again";
}

TEST_F(PackDigest, of_a_missing_file_is_an_error) {
  fs::remove(zoo_.pack);
  EXPECT_THROW(digest(), IoError);
}

}  // namespace
}  // namespace fusegrid
