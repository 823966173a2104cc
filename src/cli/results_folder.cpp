#include "cli/results_folder.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <unistd.h>

#include "cli/plan.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

// The folder itself, or the nearest above it that exists.
fs::path nearest_existing(const fs::path& folder) {
  fs::path found = fs::absolute(folder).lexically_normal();
  while (found.has_relative_path() && fs::symlink_status(found).type() == fs::file_type::not_found) {
    found = found.parent_path();
  }
  return found;
}

fs::path existing_folder(const std::string& name) {
  const fs::path folder = (fs::path(name) / "").parent_path();
  std::error_code unreadable;
  if (!fs::is_directory(folder, unreadable)) {
    std::vector<std::string> beside;
    for (const auto& entry :
         fs::directory_iterator(folder.has_parent_path() ? folder.parent_path() : ".", unreadable)) {
      if (entry.is_directory(unreadable)) {
        beside.push_back(entry.path().filename().string());
      }
    }
    const std::string near = nearest(folder.filename().string(), beside);
    throw ConfigError(
        "there is no results folder '" + folder.string() + "'" +
        (near.empty() ? "" : "; did you mean '" + (folder.parent_path() / near).string() + "'?"));
  }
  return folder;
}

}  // namespace

fs::path results_folder(const Options& options, const fs::path& job_file) {
  const auto folder = options.get_or<std::string>("results", default_results(job_file).string());
  if (folder.empty()) {
    throw UsageError("--results must name a folder, but it is ''");
  }
  if (!options.has("results") && (job_file.stem() == ".." || job_file.stem() == ".")) {
    throw UsageError("the results folder has the name of the job file, but '" + job_file.string() +
                     "' has none; name a folder with --results");
  }
  std::error_code unreadable;
  const fs::path existing = nearest_existing(folder);
  if (!fs::is_directory(existing, unreadable)) {
    throw UsageError("the results folder '" + folder + "' cannot be made: '" + existing.string() +
                     "' is no folder; name another one with --results");
  }
  if (::access(existing.c_str(), W_OK | X_OK) != 0) {
    throw IoError("results cannot be written: '" + existing.string() + "': " + std::strerror(errno) +
                  "; name another folder with --results");
  }
  return folder;
}

fs::path existing_results(const Options& options, const std::string& argument) {
  return existing_results_of({options.argument(argument)})[0];
}

std::vector<fs::path> existing_results_of(const std::vector<std::string>& names) {
  std::vector<fs::path> folders;
  for (const std::string& name : names) {
    folders.push_back(existing_folder(name));
  }
  return folders;
}

}  // namespace fusegrid
