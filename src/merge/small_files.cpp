#include "merge/small_files.h"

#include <algorithm>
#include <system_error>

#include "checkpoint/contained_folder.h"
#include "checkpoint/folder_files.h"
#include "checkpoint/weight_files.h"
#include "core/text.h"
#include "merge/manifest.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

constexpr uintmax_t kMaxCopiedBytes = uintmax_t{256} << 20;
constexpr uint64_t kMaxJsonBytes = uint64_t{64} << 20;
constexpr int kMaxDepth = 8;  // of folders; links can lead in a circle

bool is_known_tool(const std::string& name) {
  static const std::set<std::string> known_names{
      ".DS_Store", ".cache", ".git",         ".gitattributes",     ".gitignore",  ".gitmodules",
      ".github",   ".locks", ".huggingface", ".ipynb_checkpoints", "__pycache__", ".msc",
      ".mdl",      ".mv",    ".no_exist"};
  return known_names.contains(name);
}

// The folders that make up a sentence encoder together with the weights: "1_Pooling".
std::set<std::string> modules_of(const ContainedFolder& folder) {
  std::set<std::string> modules;
  if (folder.contains("modules.json")) {
    const nlohmann::json json = folder.read_json("modules.json", kMaxJsonBytes);
    for (const auto& [key, module] : json.items()) {
      if (module.is_object() && module.contains("path") && module["path"].is_string()) {
        const std::string path = module["path"].get<std::string>();
        modules.insert(path.substr(0, path.find('/')));
      }
    }
  }
  modules.erase("");
  return modules;
}

bool has_weights(const fs::path& folder, int depth) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const bool is_folder = fs::is_directory(entry.path(), error);
    if (is_folder ? depth < kMaxDepth && has_weights(entry.path(), depth + 1)
                  : folder_entry(entry.path().filename().string()) == FolderEntry::kWeights) {
      return true;
    }
  }
  return false;
}

class Collector {
 public:
  Collector(const fs::path& path, HfFolderOptions options, const std::set<fs::path>& except)
      : folder_(path, options.allow_symlinks, options.follow_links),
        modules_(modules_of(folder_)),
        weights_(weight_file_names(folder_)) {
    std::error_code error;
    for (const fs::path& other : except) {
      except_.insert(fs::weakly_canonical(other, error));
    }
  }

  SmallFiles collect() {
    enter("", 0);
    std::sort(all_.left_out.begin(), all_.left_out.end());
    return std::move(all_);
  }

 private:
  void enter(const fs::path& relative, int depth) {
    for (const auto& entry : fs::directory_iterator(folder_.path() / relative)) {
      const std::string name = entry.path().filename().string();
      const fs::path here = relative / name;
      const FolderEntry kind = folder_entry(name);
      const bool written = relative.empty() && (name == "config.json" || name == "README.md" ||
                                                name == kManifestFile || weights_.contains(name));
      if (written || kind == FolderEntry::kTrainer || is_known_tool(name)) {
        continue;
      }
      std::error_code error;
      if (fs::is_directory(entry.path(), error)) {
        take_folder(here, depth);
      } else if (!fs::is_regular_file(entry.path(), error)) {
        leave(here, "no file");
      } else if (kind == FolderEntry::kTool) {
        leave(here, "hidden");
      } else if (kind == FolderEntry::kWeights && (!in_module(here) || is_pickle(name))) {
        leave(here, "weights");
      } else if (fs::file_size(entry.path(), error) > kMaxCopiedBytes && kind != FolderEntry::kWeights) {
        leave(here, "larger than 256 MiB");
      } else {
        all_.files.emplace(here.generic_string(), folder_.resolve(here));
      }
    }
  }

  void take_folder(const fs::path& here, int depth) {
    std::error_code error;
    if (except_.contains(fs::weakly_canonical(folder_.path() / here, error))) {
      return;
    }
    if (depth == kMaxDepth) {
      leave(here / "", "too deep");
    } else if (folder_entry(here.filename().string()) == FolderEntry::kTool) {
      leave(here / "", "hidden");
    } else if (!in_module(here) && has_weights(folder_.path() / here, depth)) {
      leave(here / "", "a folder with weights of its own");
    } else {
      folder_.resolve(here);
      enter(here, depth + 1);
    }
  }

  bool in_module(const fs::path& here) const { return modules_.contains(here.begin()->string()); }
  void leave(const fs::path& here, const std::string& why) {
    all_.left_out.push_back(here.generic_string() + " (" + why + ")");
  }

  ContainedFolder folder_;
  std::set<std::string> modules_;
  std::set<std::string> weights_;
  std::set<fs::path> except_;
  SmallFiles all_;
};

}  // namespace

SmallFiles small_files_of(const fs::path& folder, HfFolderOptions options, const std::set<fs::path>& except) {
  return Collector(folder, options, except).collect();
}

}  // namespace fusegrid
