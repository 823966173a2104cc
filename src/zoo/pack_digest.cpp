#include "zoo/pack_digest.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#include <sys/stat.h>
#include <unistd.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/posix_file.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Longer than the steps in which file systems count time.
constexpr int64_t kYoungNs = int64_t{2} * 1'000'000'000;

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

int64_t now_ns() {
  using namespace std::chrono;  // NOLINT(google-build-using-namespace): in one expression
  return duration_cast<std::chrono::nanoseconds>(system_clock::now().time_since_epoch()).count();
}

// What this process has hashed or found recorded, by path: as good as the record, also where there can be none.
class SeenPacks {
 public:
  std::optional<SeenPack> find(const fs::path& pack) {
    const std::scoped_lock lock(mutex_);
    const auto found = packs_.find(pack);
    return found == packs_.end() ? std::nullopt : std::optional(found->second);
  }
  void keep(const fs::path& pack, const SeenPack& seen, bool recorded) {
    const std::scoped_lock lock(mutex_);
    packs_[pack] = seen;
    if (recorded) {
      unrecorded_.erase(pack);
    } else {
      unrecorded_.insert(pack);
    }
  }
  // What was hashed and is not recorded yet; of the next caller it is.
  std::optional<SeenPack> take_unrecorded(const fs::path& pack) {
    const std::scoped_lock lock(mutex_);
    return unrecorded_.erase(pack) == 0 ? std::nullopt : std::optional(packs_.at(pack));
  }

 private:
  std::mutex mutex_;
  std::map<fs::path, SeenPack> packs_;
  std::set<fs::path> unrecorded_;
};

SeenPacks& seen_packs() {
  static SeenPacks packs;
  return packs;
}

std::optional<SeenPack> read_record(const fs::path& record, std::ostream& warnings) {
  std::ifstream in(record);
  if (!in) {
    return std::nullopt;
  }
  try {
    return json::parse(in).get<SeenPack>();
  } catch (const std::exception&) {  // of JSON, or of a stream
    warnings << "fusegrid: '" << record.string() << "' is damaged, so the task pack is read again\n";
    return std::nullopt;
  }
}

}  // namespace

FileStamp pack_stamp(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    throw IoError(system_message("examine", file));
  }
  return {status.st_size, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim), status.st_ino};
}

void to_json(json& json, const SeenPack& pack) {
  json = {{"size", pack.stamp.size},
          {"modified_ns", pack.stamp.modified_ns},
          {"changed_ns", pack.stamp.changed_ns},
          {"inode", pack.stamp.inode},
          {"sha256", pack.digest}};
}

void from_json(const json& json, SeenPack& pack) {
  json.at("size").get_to(pack.stamp.size);
  json.at("modified_ns").get_to(pack.stamp.modified_ns);
  json.at("changed_ns").get_to(pack.stamp.changed_ns);
  json.at("inode").get_to(pack.stamp.inode);
  json.at("sha256").get_to(pack.digest);
}

fs::path pack_record(const Zoo& zoo) {
  return zoo.folder / "pack_digest.json";
}

std::string pack_digest(const Zoo& zoo, std::ostream& warnings) {
  const int64_t now = now_ns();
  const FileStamp stamp = pack_stamp(zoo.pack);
  const auto is_this =
      [&](const std::optional<SeenPack>& known) {  // a digest that is not the zoo's is seen to be so
        return known && known->stamp == stamp &&
               (zoo.pack_sha256.empty() || known->digest == zoo.pack_sha256);
      };
  if (const auto seen = seen_packs().find(zoo.pack); is_this(seen)) {
    return seen->digest;
  }
  if (const auto recorded = read_record(pack_record(zoo), warnings); is_this(recorded)) {
    seen_packs().keep(zoo.pack, *recorded, /*recorded=*/true);
    return recorded->digest;
  }
  const SeenPack seen{stamp, digest_of_file(zoo.pack)};
  if (pack_stamp(zoo.pack) != stamp) {
    throw DataError("task pack '" + zoo.pack.string() +
                    "' must not change while it is read, but it did; start again when it is complete");
  }
  if (std::max(stamp.modified_ns, stamp.changed_ns) < now - kYoungNs) {
    seen_packs().keep(zoo.pack, seen, /*recorded=*/false);
  }
  return seen.digest;
}

void record_pack_digest(const Zoo& zoo, std::ostream& warnings) {
  const auto seen = seen_packs().take_unrecorded(zoo.pack);
  if (!seen || ::access(zoo.folder.c_str(), W_OK) != 0) {
    return;
  }
  try {
    write_atomically(pack_record(zoo), json(*seen).dump(2) + "\n");
  } catch (const IoError& error) {
    warnings
        << "fusegrid: the digest of the task pack is not recorded, so the next start reads the pack again: "
        << error.what() << "\n";
  }
}

std::optional<SeenPack> seen_pack(const Zoo& zoo) {
  return seen_packs().find(zoo.pack);
}

}  // namespace fusegrid
