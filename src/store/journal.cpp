#include "store/journal.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the journal is little-endian");

constexpr uint32_t kMagic = 0x4a474746;  // "FGGJ"
constexpr uint16_t kJournalVersion = 2;  // of the frames and of their payloads
constexpr size_t kHeaderSize = 24;
constexpr size_t kCrcBegin = 4;  // the checksum covers the header from `type` to `sequence`, and the payload
constexpr size_t kCrcOffset = 20;
constexpr size_t kMaxPayload = size_t{1} << 30;

struct Header {
  uint32_t magic = kMagic;
  uint16_t type = 0;
  uint16_t version = kJournalVersion;
  uint32_t length = 0;
  uint64_t sequence = 0;
  uint32_t crc = 0;
};

template <typename T>
T load(std::string_view bytes, size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

uint32_t checksum(std::string_view header, std::string_view payload) {
  const auto* head = reinterpret_cast<const Bytef*>(header.data()) + kCrcBegin;
  auto crc = crc32_z(0, head, kCrcOffset - kCrcBegin);
  crc = crc32_z(crc, reinterpret_cast<const Bytef*>(payload.data()), payload.size());
  return static_cast<uint32_t>(crc);
}

std::string encode(FrameType type, uint64_t sequence, const json& payload) {
  std::string frame(kHeaderSize, '\0');
  json::to_cbor(payload, frame);
  const std::string_view body = std::string_view(frame).substr(kHeaderSize);
  if (body.size() > kMaxPayload) {
    throw DataError("a frame of the journal holds at most 1 GiB, but a result has " +
                    std::to_string(body.size()) + " bytes; record fewer outcomes per item");
  }
  const auto put = [&](size_t offset, auto value) { std::memcpy(&frame[offset], &value, sizeof(value)); };
  put(0, kMagic);
  put(4, static_cast<uint16_t>(type));
  put(6, kJournalVersion);
  put(8, static_cast<uint32_t>(body.size()));
  put(12, sequence);
  put(kCrcOffset, checksum(frame, body));
  return frame;
}

// The header of a whole frame with a right checksum at the beginning of `bytes`.
std::optional<Header> good_frame(std::string_view bytes) {
  if (bytes.size() < kHeaderSize || load<uint32_t>(bytes, 0) != kMagic) {
    return std::nullopt;
  }
  const Header header{kMagic,
                      load<uint16_t>(bytes, 4),
                      load<uint16_t>(bytes, 6),
                      load<uint32_t>(bytes, 8),
                      load<uint64_t>(bytes, 12),
                      load<uint32_t>(bytes, kCrcOffset)};
  if (header.length > kMaxPayload || header.length > bytes.size() - kHeaderSize ||
      header.crc != checksum(bytes, bytes.substr(kHeaderSize, header.length))) {
    return std::nullopt;
  }
  return header;
}

// Whether a good frame begins somewhere in `bytes`, whose first frame is bad.
bool good_frame_behind(std::string_view bytes) {
  std::string magic(sizeof(kMagic), '\0');
  std::memcpy(magic.data(), &kMagic, sizeof(kMagic));
  for (size_t at = bytes.find(magic, 1); at != std::string_view::npos; at = bytes.find(magic, at + 1)) {
    if (good_frame(bytes.substr(at))) {
      return true;
    }
  }
  return false;
}

[[noreturn]] void corrupt(const std::filesystem::path& path, uint64_t offset, const std::string& what) {
  throw DataError("the journal '" + path.string() + "' is damaged at byte " + std::to_string(offset) + ": " +
                  what + "; nothing was changed. Restore the file from a backup, or start in a new folder");
}

void visit_frame(const std::filesystem::path& path, uint64_t offset, const Header& header,
                 std::string_view payload, const FrameVisitor& visit) {
  json decoded;
  try {
    decoded = json::from_cbor(payload.begin(), payload.end());
  } catch (const json::exception& error) {
    corrupt(path, offset, std::string("the payload is no CBOR (") + error.what() + ")");
  }
  try {
    visit(static_cast<FrameType>(header.type), header.sequence, decoded);
  } catch (const json::exception& error) {
    corrupt(path, offset, std::string("the payload is no frame's content (") + error.what() + ")");
  }
}

void check_header(const std::filesystem::path& path, uint64_t offset, const Header& header,
                  uint64_t sequence) {
  if (header.version != kJournalVersion) {
    throw DataError("the journal '" + path.string() + "' has format version " +
                    std::to_string(header.version) + " (byte " + std::to_string(offset) +
                    "), but this program reads version " + std::to_string(kJournalVersion) +
                    "; give the run's command another results folder (--results DIR), or use the program "
                    "that wrote this one");
  }
  if (header.sequence != sequence) {
    corrupt(path, offset,
            "frame " + std::to_string(sequence) + " should be here, but it is frame " +
                std::to_string(header.sequence));
  }
  if (header.type < static_cast<uint16_t>(FrameType::kOpen) ||
      header.type > static_cast<uint16_t>(FrameType::kForget)) {
    corrupt(path, offset, "the frame has the unknown type " + std::to_string(header.type));
  }
}

JournalEnd replay(const File& file, const FrameVisitor& visit) {
  const std::string bytes = file.read_all();
  const std::string_view all = bytes;
  JournalEnd end;
  while (end.size < all.size()) {
    const auto rest = all.substr(end.size);
    const auto header = good_frame(rest);
    if (!header) {
      if (good_frame_behind(rest)) {
        corrupt(file.path(), end.size, "a bad frame has good frames behind it");
      }
      end.torn_bytes = rest.size();
      break;
    }
    check_header(file.path(), end.size, *header, end.sequence + 1);
    visit_frame(file.path(), end.size, *header, rest.substr(kHeaderSize, header->length), visit);
    end.sequence = header->sequence;
    end.frames += 1;
    end.size += kHeaderSize + header->length;
  }
  return end;
}

}  // namespace

JournalEnd replay_journal(const std::filesystem::path& path, const FrameVisitor& visit) {
  return replay(File(path, File::Mode::kRead), visit);
}

Journal::Journal(const std::filesystem::path& path, const FrameVisitor& visit) {
  const bool is_new = !std::filesystem::exists(path);
  file_ = std::make_unique<File>(path, File::Mode::kAppend);
  end_ = replay(*file_, visit);
  if (end_.torn_bytes > 0) {
    std::cerr << "warning: dropped a torn frame of " << end_.torn_bytes << " bytes at byte " << end_.size
              << " of '" << path.string() << "': an earlier run was killed while it wrote\n";
    file_->truncate(end_.size);
    file_->sync();
  }
  if (is_new) {
    sync_names(path.parent_path());
  }
}

void Journal::check_usable() const {
  if (broken_) {
    throw IoError("an earlier write error left '" + file_->path().string() +
                  "' in an unknown state; start the run again, which continues from what is on disk");
  }
}

uint64_t Journal::append(FrameType type, const json& payload) {
  check_usable();
  const std::string frame = encode(type, end_.sequence + 1, payload);
  try {
    file_->append(frame);
  } catch (const IoError&) {
    try {
      file_->truncate(end_.size);
    } catch (const IoError&) {
      broken_ = true;  // a torn frame stays at the end: nothing may be written behind it
    }
    throw;
  }
  end_.size += frame.size();
  end_.sequence += 1;
  end_.frames += 1;
  unflushed_ = true;
  return end_.sequence;
}

void Journal::flush() {
  check_usable();
  if (!unflushed_) {
    return;
  }
  try {
    file_->sync();
  } catch (const IoError&) {
    // The kernel forgets which pages it could not write: a second fdatasync would report success.
    broken_ = true;
    throw;
  }
  unflushed_ = false;
}

}  // namespace fusegrid
