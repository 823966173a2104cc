#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fusegrid {

constexpr auto kManifestFile = "fusegrid_manifest.json";

// One model folder that differs from its manifest.
struct ManifestDifference {
  std::filesystem::path folder;
  std::string tensor;
  std::string what;  // "is missing", "has other bytes", ...
};

struct VerifiedFolder {
  std::filesystem::path folder;
  size_t tensors = 0;
  std::vector<ManifestDifference> differences;
};

// Hashes the tensors of the merged model in `folder`, or of those in the folders below it, and compares them with
// their manifests. Throws ConfigError where there is no manifest or it has no digests, DataError, IoError.
std::vector<VerifiedFolder> verify_merged(const std::filesystem::path& folder);

// The SHA-256 of MergePlan::identity of the merge that made `folder`; nothing where it has no manifest that says so.
std::optional<std::string> identity_in_manifest(const std::filesystem::path& folder);

}  // namespace fusegrid
