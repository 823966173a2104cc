// The digest of a zoo's task pack, without reading gigabytes at every start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "zoo/zoo.h"

namespace fusegrid {

// What changes with a file and is known without reading it. The time of change is the system's: no program sets it, so
// it tells of a file that was changed and given its old time of modification.
struct FileStamp {
  int64_t size = 0;
  int64_t modified_ns = 0;  // since 1970
  int64_t changed_ns = 0;   // the same
  uint64_t inode = 0;
  bool operator==(const FileStamp&) const = default;
};
// Throws IoError where there is no such file.
FileStamp pack_stamp(const std::filesystem::path& file);

// A pack as it was when it was hashed.
struct SeenPack {
  FileStamp stamp;
  std::string digest;
};
void to_json(nlohmann::json& json, const SeenPack& pack);
void from_json(const nlohmann::json& json, SeenPack& pack);

// The record of the last digest: ZOO/pack_digest.json.
std::filesystem::path pack_record(const Zoo& zoo);

// The digest of the zoo's pack (core/digest.h): the recorded one where the file's stamp is the recorded one, and it is
// what zoo.json says, else computed. Writes nothing; a damaged record is told on `warnings`. Throws IoError where the
// pack cannot be read, DataError where it changes meanwhile.
std::string pack_digest(const Zoo& zoo, std::ostream& warnings = std::cerr);
// Records what pack_digest() computed in this process. A pack that had been changed less than two seconds before is not
// recorded, since the next change might leave the same stamp; nor is there a record where the zoo's folder is not ours
// to write. One that fails is told on `warnings`.
void record_pack_digest(const Zoo& zoo, std::ostream& warnings = std::cerr);

// For a process that is handed what this one knows: what pack_digest() found here, unless it was not asked or the pack
// is too young.
std::optional<SeenPack> seen_pack(const Zoo& zoo);

}  // namespace fusegrid
