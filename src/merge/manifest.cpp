#include "merge/manifest.h"

#include <map>

#include "checkpoint/contained_folder.h"
#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "merge/piece_digests.h"

namespace fusegrid {
namespace {

constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 30;

VerifiedFolder verify_one(const std::filesystem::path& path) {
  const ContainedFolder files(path, true);
  const nlohmann::json manifest = files.read_json(kManifestFile, kMaxManifestBytes);
  if (!manifest.contains("tensors") || manifest.at("tensors").empty()) {
    throw ConfigError("'" + (path / kManifestFile).string() +
                      "' has no digests (the merge ran with --digests none), so there is nothing to verify");
  }
  const HfFolder model(path, {.allow_symlinks = true});
  VerifiedFolder verified{path, 0, {}};
  auto expected = manifest.at("tensors").get<std::map<std::string, std::string>>();
  for (const TensorInfo& info : model.tensors()) {
    const auto it = expected.find(info.name);
    if (it == expected.end()) {
      verified.differences.push_back({path, info.name, "is not in the manifest"});
      continue;
    }
    if (piecewise_digest(model, info) != it->second) {
      verified.differences.push_back({path, info.name, "has other bytes than the manifest says"});
    }
    ++verified.tensors;
    expected.erase(it);
  }
  for (const auto& [name, digest] : expected) {
    verified.differences.push_back({path, name, "is missing"});
  }
  return verified;
}

}  // namespace

std::vector<VerifiedFolder> verify_merged(const std::filesystem::path& folder) {
  std::vector<VerifiedFolder> verified;
  if (std::filesystem::exists(folder / kManifestFile)) {
    verified.push_back(verify_one(folder));
  } else if (std::filesystem::is_directory(folder)) {
    std::vector<std::filesystem::path> below;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.path().filename() == kManifestFile) {
        below.push_back(entry.path().parent_path());
      }
    }
    std::sort(below.begin(), below.end());
    for (const auto& path : below) {
      verified.push_back(verify_one(path));
    }
  }
  if (verified.empty()) {
    throw ConfigError("--verify needs a folder that fusegrid merge wrote, with " +
                      std::string(kManifestFile) + " in it or in the folders below, but '" + folder.string() +
                      "' has none");
  }
  return verified;
}

std::optional<std::string> identity_in_manifest(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / kManifestFile)) {
    return std::nullopt;
  }
  const nlohmann::json manifest = ContainedFolder(folder, true).read_json(kManifestFile, kMaxManifestBytes);
  return manifest.contains("identity") ? std::optional(manifest.at("identity").get<std::string>())
                                       : std::nullopt;
}

}  // namespace fusegrid
