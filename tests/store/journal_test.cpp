#include "store/journal.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "support.h"

namespace fusegrid::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr size_t kHeaderSize = 24;

void ignore(FrameType, uint64_t, const json&) {}

// A journal of `count` results in frames 1..count; returns where each frame begins, and the end.
std::vector<size_t> write_journal(const fs::path& path, int count) {
  std::vector<size_t> offsets = {0};
  Journal journal(path, ignore);
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(journal.append(FrameType::kResult, make_result(i)), static_cast<uint64_t>(i + 1));
    offsets.push_back(fs::file_size(path));
  }
  journal.flush();
  return offsets;
}

std::vector<std::string> names_in(const fs::path& path) {
  std::vector<std::string> names;
  replay_journal(path,
                 [&](FrameType, uint64_t, const json& payload) { names.push_back(payload.at("name")); });
  return names;
}

// Changes a field of the frame at `offset` and makes its checksum right again.
template <typename T>
void forge(std::string& bytes, size_t offset, size_t field, T value) {
  uint32_t length = 0;
  std::memcpy(&length, &bytes[offset + 8], 4);
  std::memcpy(&bytes[offset + field], &value, sizeof(T));
  const auto* begin = reinterpret_cast<const Bytef*>(bytes.data()) + offset;
  auto crc = crc32(0, begin + 4, 16);
  crc = crc32(crc, begin + kHeaderSize, length);
  const auto crc32_value = static_cast<uint32_t>(crc);
  std::memcpy(&bytes[offset + 20], &crc32_value, 4);
}

TEST(Journal, TornTailAtEveryByteIsDropped) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "journal";
  const auto offsets = write_journal(path, 5);
  const std::string whole = read_bytes(path);
  for (size_t size = offsets[2]; size < whole.size(); ++size) {
    write_bytes(path, whole.substr(0, size));
    const size_t frames = size >= offsets[4] ? 4 : size >= offsets[3] ? 3 : 2;
    const auto end = replay_journal(path, ignore);
    ASSERT_EQ(end.sequence, frames) << size;
    ASSERT_EQ(end.torn_bytes, size - offsets[frames]) << size;
    {
      testing::internal::CaptureStderr();
      Journal journal(path, ignore);
      const std::string said = testing::internal::GetCapturedStderr();
      ASSERT_EQ(!said.empty(), size != offsets[frames]) << size;
      ASSERT_EQ(fs::file_size(path), offsets[frames]) << size;
      ASSERT_EQ(journal.append(FrameType::kResult, make_result(9)), frames + 1) << size;
    }
    ASSERT_EQ(names_in(path).size(), frames + 1) << size;
    ASSERT_EQ(names_in(path).back(), cell_name(9)) << size;
  }
}

TEST(Journal, EveryDamagedByteBeforeGoodFramesIsRefused) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "journal";
  const auto offsets = write_journal(path, 3);
  const std::string whole = read_bytes(path);
  for (size_t at = 0; at < offsets[2]; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_bytes(path, damaged);
    const size_t frame = at < offsets[1] ? offsets[0] : offsets[1];
    ASSERT_THAT(error_of<DataError>([&] { Journal(path, ignore); }),
                HasSubstr("damaged at byte " + std::to_string(frame) + ":"))
        << at;
    ASSERT_EQ(read_bytes(path), damaged) << at;
  }
}

TEST(Journal, RefusesAnotherVersionAnUnknownTypeAndAHole) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "journal";
  const auto offsets = write_journal(path, 3);
  const std::string whole = read_bytes(path);
  const auto message = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    return error_of<DataError>([&] { Journal(path, ignore); });
  };
  std::string forged = whole;
  forge(forged, 0, 6, uint16_t{1});
  EXPECT_THAT(message(forged),
              AllOf(HasSubstr("format version 1"), HasSubstr("reads version 2"), HasSubstr("--results DIR")));
  forged = whole;
  forge(forged, offsets[1], 4, uint16_t{77});
  EXPECT_THAT(message(forged), HasSubstr("unknown type 77"));
  EXPECT_THAT(message(whole.substr(0, offsets[1]) + whole.substr(offsets[2])), HasSubstr("it is frame 3"));
  EXPECT_THAT(message(whole + whole.substr(offsets[2])), HasSubstr("it is frame 3"));
}

TEST(Journal, RefusesAPayloadThatIsNoCbor) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "journal";
  write_journal(path, 1);
  std::string bytes = read_bytes(path);
  forge(bytes, 0, kHeaderSize, uint8_t{0xff});
  write_bytes(path, bytes);
  EXPECT_THAT(error_of<DataError>([&] { Journal(path, ignore); }), HasSubstr("no CBOR"));
}

TEST(Journal, AFailedAppendLeavesWholeFrames) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "journal";
  Journal journal(path, ignore);
  journal.append(FrameType::kResult, make_result(0));
  const auto size = fs::file_size(path);
  for (const int error : {ENOSPC, EFBIG, EIO}) {
    Fault fault;
    fault.action = Fault::Action::kFail;
    fault.operation = 0;
    fault.error = error;
    set_fault(fault);
    EXPECT_THAT(error_of<IoError>([&] { journal.append(FrameType::kResult, make_result(1)); }),
                HasSubstr(std::strerror(error)));
    set_fault({});
    EXPECT_EQ(fs::file_size(path), size);
  }
  EXPECT_EQ(journal.append(FrameType::kResult, make_result(2)), 2U);
  EXPECT_EQ(names_in(path), (std::vector<std::string>{cell_name(0), cell_name(2)}));
}

}  // namespace
}  // namespace fusegrid::test
