#include "zoo/folders.h"

#include <fstream>
#include <sstream>

#include "checkpoint/folder_files.h"
#include "core/digest.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
constexpr const char* kProvenance = "provenance.json";
constexpr const char* kTokenizer = "tokenizer.json";

std::string content_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  content << stream.rdbuf();
  if (!stream) {
    throw IoError("cannot read '" + file.string() + "'");
  }
  return content.str();
}

}  // namespace

std::map<std::string, std::string> files_beside_weights(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (entry.is_regular_file() && folder_entry(name) == FolderEntry::kModel && name != "config.json" &&
        name != kProvenance) {
      files[name] = content_of(entry.path());
    }
  }
  return files;
}

nlohmann::json read_provenance(const fs::path& folder) {
  std::ifstream stream(folder / kProvenance);
  const auto origin = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  return origin.is_object() ? origin : nlohmann::json::object();
}

std::string tokenizer_digest(const fs::path& folder) {
  return fs::exists(folder / kTokenizer) ? sha256_of_file(folder / kTokenizer) : "";
}

}  // namespace fusegrid
