#include "zoo/zoo.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "core/alternatives.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/names.h"
#include "core/text.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "fusegrid-zoo";
constexpr int kVersion = 1;

// Paths below the zoo are written relative to it, so that a zoo can be moved.
std::string written_path(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  const bool below = !relative.empty() && *relative.begin() != "..";
  return below ? relative.string() : fs::absolute(path).string();
}

json to_json(const Replicate& replicate, const fs::path& folder) {
  json experts = json::object();
  for (const auto& [task, path] : replicate.experts) {
    experts[task] = written_path(path, folder);
  }
  json written{{"seed", replicate.seed},
               {"base", written_path(replicate.base, folder)},
               {"heads", written_path(replicate.heads, folder)},
               {"experts", experts},
               {"digests", replicate.digests},
               {"scores", replicate.scores}};
  if (replicate.multitask) {
    written["multitask"] = written_path(*replicate.multitask, folder);
  }
  return written;
}

Replicate parse_replicate(const json& written, const Zoo& zoo, const std::string& where) {
  Replicate replicate;
  replicate.seed = written.at("seed").get<int64_t>();
  replicate.base = zoo.folder / written.at("base").get<std::string>();
  replicate.heads = zoo.folder / written.at("heads").get<std::string>();
  for (const auto& [task, path] : written.at("experts").items()) {
    if (std::find(zoo.tasks.begin(), zoo.tasks.end(), task) == zoo.tasks.end()) {
      throw DataError(where + ": the expert of seed " + std::to_string(replicate.seed) + " for task '" +
                      task + "' must be for one of the zoo's tasks: " + join(zoo.tasks, ", "));
    }
    replicate.experts[task] = zoo.folder / path.get<std::string>();
  }
  if (written.contains("multitask")) {
    replicate.multitask = zoo.folder / written["multitask"].get<std::string>();
  }
  replicate.digests = written.at("digests").get<std::map<std::string, std::string>>();
  replicate.scores = written.at("scores").get<std::map<std::string, double>>();
  return replicate;
}

void require_exists(const fs::path& path, const std::string& what) {
  if (!fs::exists(path)) {
    throw ConfigError(what + " is not there: '" + path.string() +
                      "' does not exist; bring it back, or make it again: build or import the zoo with the "
                      "command that made it");
  }
}

void check_files(const Zoo& zoo) {
  for (const Replicate& replicate : zoo.replicates) {
    const std::string seed = "zoo '" + zoo.name + "', seed " + std::to_string(replicate.seed) + ": ";
    require_exists(replicate.base, seed + "the base");
    require_exists(replicate.heads, seed + "the heads");
    for (const auto& [task, path] : replicate.experts) {
      require_exists(path, seed + "the expert of task '" + task + "'");
    }
    if (replicate.multitask) {
      require_exists(*replicate.multitask, seed + "the multitask model");
    }
  }
}

json read_json(const fs::path& path) {
  std::ifstream in(path);
  if (!in) {
    throw IoError("cannot read '" + path.string() + "'");
  }
  try {
    return json::parse(in);
  } catch (const json::exception& error) {
    throw DataError("'" + path.string() + "' is no JSON: " + error.what());
  }
}

fs::path find_pack(const fs::path& folder, const std::string& name) {
  return fs::exists(folder / name) ? folder / name : data_folder() / name;
}

Zoo parse_zoo(const json& written, const fs::path& folder, const std::string& where) {
  const json& format = written.at("format");
  const json& version = written.at("version");
  if (format != kFormat || version != kVersion) {
    throw DataError(where + ": format and version must be " + kFormat + " and " + std::to_string(kVersion) +
                    ", but are " + format.dump() + " and " + version.dump());
  }
  Zoo zoo;
  zoo.folder = folder;
  zoo.name = written.at("name").get<std::string>();
  check_name(zoo.name, where + ": the name of the zoo");
  zoo.scale = written.at("scale").get<std::string>();
  zoo.suite = written.at("suite").get<std::string>();
  zoo.pack = find_pack(folder, written.at("pack").get<std::string>());
  zoo.pack_sha256 = written.at("pack_sha256").get<std::string>();
  zoo.tasks = written.at("tasks").get<std::vector<std::string>>();
  for (const std::string& task : zoo.tasks) {
    check_task_name(task, where + ": the name of a task");
  }
  zoo.imported = written.value("imported", false);
  std::set<int64_t> seeds;
  for (const json& replicate : written.at("replicates")) {
    zoo.replicates.push_back(parse_replicate(replicate, zoo, where));
    if (!seeds.insert(zoo.replicates.back().seed).second) {
      throw DataError(where + ": seed " + std::to_string(zoo.replicates.back().seed) + " is there twice");
    }
  }
  if (zoo.replicates.empty() || zoo.tasks.empty()) {
    throw DataError(where + ": a zoo needs at least one task and one replicate");
  }
  std::sort(zoo.replicates.begin(), zoo.replicates.end(),
            [](const Replicate& a, const Replicate& b) { return a.seed < b.seed; });
  return zoo;
}

std::string known_zoos() {
  const auto names = list_zoos();
  return names.empty()
             ? "There are none in '" + zoos_folder().string() + "'; make one with fusegrid zoo build"
             : "Known: " + join(names, ", ");
}

}  // namespace

Zoo Zoo::load(const fs::path& folder) {
  Zoo zoo = read(folder);
  check_files(zoo);
  return zoo;
}

Zoo Zoo::read(const fs::path& folder) {
  const fs::path file = folder / "zoo.json";
  if (!fs::exists(file)) {
    throw ConfigError("there is no zoo in '" + folder.string() + "' (no zoo.json). " + known_zoos());
  }
  const json written = read_json(file);
  try {
    return parse_zoo(written, fs::absolute(folder).lexically_normal(), "'" + file.string() + "'");
  } catch (const json::exception& error) {
    throw DataError("'" + file.string() + "' does not describe a zoo: " + error.what());
  }
}

void Zoo::save() const {
  json all = json::array();
  for (const Replicate& replicate : replicates) {
    all.push_back(to_json(replicate, folder));
  }
  const bool named = pack.parent_path() == folder || pack.parent_path() == data_folder();
  json written{{"format", kFormat},
               {"version", kVersion},
               {"name", name},
               {"scale", scale},
               {"suite", suite},
               {"pack", named ? pack.filename().string() : fs::absolute(pack).string()},
               {"pack_sha256", pack_sha256},
               {"tasks", tasks},
               {"replicates", all}};
  if (imported) {
    written["imported"] = true;
  }
  write_atomically(folder / "zoo.json", written.dump(2) + "\n");
}

const Replicate& Zoo::replicate(int64_t seed) const {
  if (imported) {
    return replicates.front();
  }
  std::vector<std::string> seeds;
  for (const Replicate& replicate : replicates) {
    if (replicate.seed == seed) {
      return replicate;
    }
    seeds.push_back(std::to_string(replicate.seed));
  }
  const std::string missing = std::to_string(seed);
  throw ConfigError(
      "zoo '" + name + "' must have models trained with each seed of the job, but it has none of seed " +
      missing + " (seeds: " + join(seeds, ", ") + "); train them with 'fusegrid zoo build embedded --scale " +
      scale + " --seeds " + missing + " --out " + folder.string() +
      "' (--seeds FIRST..LAST for several), or take the seed out of the job");
}

std::vector<std::string> Zoo::experts(const std::string& text) const {
  if (is_count(text)) {
    const int64_t count = parse_int(text, "experts");
    if (count < 1 || count > static_cast<int64_t>(tasks.size())) {
      throw ConfigError("experts must be 1 to " + std::to_string(tasks.size()) + " in zoo '" + name +
                        "', but it is " + text);
    }
    return {tasks.begin(), tasks.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  const auto chosen = split(text, '+');
  std::set<std::string> seen;
  for (const std::string& task : chosen) {
    if (std::find(tasks.begin(), tasks.end(), task) == tasks.end() || !seen.insert(task).second) {
      throw ConfigError("experts must be a number or different tasks of zoo '" + name +
                        "' joined by '+', but '" + text + "' has '" + task + "'" + alternatives(task, tasks));
    }
  }
  return chosen;
}

fs::path zoos_folder() {
  const char* folder = std::getenv("FUSEGRID_ZOOS");
  return folder != nullptr ? fs::path(folder) : fs::path("zoos");
}

fs::path data_folder() {
  if (const char* folder = std::getenv("FUSEGRID_DATA")) {
    return folder;
  }
  std::error_code unreadable;
  const fs::path program = fs::read_symlink("/proc/self/exe", unreadable);
  const fs::path installed = program.parent_path().parent_path() / "share" / "fusegrid";
  return !unreadable && fs::exists(installed) ? installed : fs::path(FUSEGRID_SOURCE_DATA);
}

Zoo find_zoo(const std::string& name_or_folder) {
  for (const fs::path& folder : {zoos_folder() / name_or_folder, fs::path(name_or_folder)}) {
    if (fs::exists(folder / "zoo.json")) {
      return Zoo::load(folder);
    }
  }
  const auto known = list_zoos();
  throw ConfigError("there is no zoo '" + name_or_folder + "'" +
                    (known.empty() ? ". " + known_zoos() : alternatives(name_or_folder, known)));
}

std::vector<std::string> list_zoos() {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(zoos_folder(), missing)) {
    if (fs::exists(entry.path() / "zoo.json")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace fusegrid
