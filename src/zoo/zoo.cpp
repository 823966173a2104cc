#include "zoo/zoo.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numeric>
#include <set>

#include <nlohmann/json.hpp>

#include "checkpoint/lossless_json.h"
#include "core/alternatives.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/names.h"
#include "core/text.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "fusegrid-zoo";
constexpr int kVersion = 2;

// Paths below the zoo are written relative to it, so that a zoo can be moved.
std::string written_path(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  const bool below = !relative.empty() && *relative.begin() != "..";
  return below ? relative.string() : fs::absolute(path).string();
}

json to_json(const Replicate& replicate, const fs::path& folder) {
  json experts = json::object();
  for (const auto& [name, path] : replicate.experts) {
    experts[name] = written_path(path, folder);
  }
  json written{{"seed", replicate.seed},
               {"experts", experts},
               {"digests", replicate.digests},
               {"scores", replicate.scores}};
  if (!replicate.base.empty()) {
    written["base"] = written_path(replicate.base, folder);
  }
  if (!replicate.heads.empty()) {
    written["heads"] = written_path(replicate.heads, folder);
  }
  if (replicate.multitask) {
    written["multitask"] = written_path(*replicate.multitask, folder);
  }
  if (replicate.multitask_heads) {
    written["multitask_heads"] = written_path(*replicate.multitask_heads, folder);
  }
  return written;
}

Replicate parse_replicate(const json& written, const Zoo& zoo, const std::string& where) {
  Replicate replicate;
  replicate.seed = written.at("seed").get<int64_t>();
  if (written.contains("base")) {
    replicate.base = zoo.folder / written["base"].get<std::string>();
  }
  if (written.contains("heads")) {
    replicate.heads = zoo.folder / written["heads"].get<std::string>();
  }
  const auto known = zoo.expert_names();
  for (const auto& [name, path] : written.at("experts").items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw DataError(where + ": the model '" + name + "' of seed " + std::to_string(replicate.seed) +
                      " must be of one of the zoo's experts: " + join(known, ", "));
    }
    replicate.experts[name] = zoo.folder / path.get<std::string>();
  }
  if (replicate.base.empty() && replicate.experts.empty()) {
    throw DataError(where + ": seed " + std::to_string(replicate.seed) + " has neither a base nor an expert");
  }
  if (written.contains("multitask")) {
    replicate.multitask = zoo.folder / written["multitask"].get<std::string>();
  }
  if (written.contains("multitask_heads")) {
    replicate.multitask_heads = zoo.folder / written["multitask_heads"].get<std::string>();
  }
  replicate.digests = written.at("digests").get<std::map<std::string, std::string>>();
  replicate.scores = written.at("scores").get<std::map<std::string, double>>();
  return replicate;
}

void require_exists(const fs::path& path, const std::string& what) {
  if (!is_there(path)) {
    throw ConfigError(what + " is not there: '" + path.string() +
                      "' does not exist; bring it back, or make it again: build or import the zoo with the "
                      "command that made it");
  }
}

void check_files(const Zoo& zoo) {
  for (const Replicate& replicate : zoo.replicates) {
    const std::string seed = "zoo '" + zoo.name + "', seed " + std::to_string(replicate.seed) + ": ";
    if (!replicate.base.empty()) {
      require_exists(replicate.base, seed + "the base");
    }
    if (!replicate.heads.empty()) {
      require_exists(replicate.heads, seed + "the heads");
    }
    for (const auto& [name, path] : replicate.experts) {
      require_exists(path, seed + "the expert '" + name + "'");
    }
    if (replicate.multitask) {
      require_exists(*replicate.multitask, seed + "the multitask model");
    }
    if (replicate.multitask_heads) {
      require_exists(*replicate.multitask_heads, seed + "the heads of the multitask model");
    }
  }
}

json read_json(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw IoError("cannot read '" + path.string() + "'");
  }
  return parse_lossless(std::string(std::istreambuf_iterator<char>(in), {}), path.string());
}

// The command that adds a seed to a zoo that was built.
std::string build_command(const Zoo& zoo, const std::string& seed) {
  std::string command = "fusegrid zoo build " + (zoo.recipe.empty() ? "RECIPE" : zoo.recipe) + " --scale " +
                        zoo.scale + " --seeds " + seed + " --out " + zoo.folder.string();
  const auto& experts = zoo.replicates.front().experts;
  const json described = experts.empty()
                             ? json::object()
                             : read_provenance(experts.begin()->second).value("recipe", json::object());
  for (const auto& [option, value] : text_of_overrides(overrides_of(described))) {
    command += " --set " + option + "=" + value;
  }
  return command;
}

fs::path find_pack(const fs::path& folder, const std::string& name) {
  if (name.empty()) {
    return {};
  }
  return is_there(folder / name) ? folder / name : data_folder() / name;
}

Pooling parse_pooling(const std::string& text, const std::string& where) {
  std::vector<std::string> known;
  for (const Pooling pooling : {Pooling::kFirst, Pooling::kLast, Pooling::kMean, Pooling::kNone}) {
    if (text == to_string(pooling)) {
      return pooling;
    }
    known.push_back(to_string(pooling));
  }
  throw DataError(where + ": the pooling must be one of " + join(known, ", ") + ", but it is '" + text + "'");
}

// Heads read pooled features or, decoders, maps that are not pooled. Without any, models hold theirs, which say what
// they read.
void check_heads(const Zoo& zoo, const std::string& where) {
  for (const Replicate& replicate : zoo.replicates) {
    if (replicate.heads.empty() && zoo.pooling != Pooling::kNone) {
      throw DataError(where + ": the pooling must be none where the models have no heads, but it is " +
                      to_string(zoo.pooling) + ", and seed " + std::to_string(replicate.seed) +
                      " has no heads");
    }
  }
}

// The tasks of an expert, or those of which it has seen some classes alone.
void check_tasks_of(const ZooExpert& expert, const std::vector<std::string>& tasks, const Zoo& zoo,
                    const std::string& where) {
  for (const std::string& task : tasks) {
    if (std::find(zoo.tasks.begin(), zoo.tasks.end(), task) == zoo.tasks.end()) {
      throw DataError(where + ": the tasks of expert '" + expert.name + "' must be among the zoo's, " +
                      join(zoo.tasks, ", ") + ", but one is '" + task + "'");
    }
  }
}

void check_classes(const ZooExpert& expert, const Zoo& zoo, const std::string& where) {
  for (const auto& [task, classes] : expert.classes) {
    check_tasks_of(expert, {task}, zoo, where);
    const std::set<std::string> different(classes.begin(), classes.end());
    if (classes.empty() || different.size() != classes.size()) {
      throw DataError(where + ": the classes of task '" + task + "' that expert '" + expert.name +
                      "' has seen must be one or more, each named once, but they are '" +
                      join(classes, "', '") + "'; leave the task out where it has seen all");
    }
  }
}

std::vector<ZooExpert> parse_experts(const json& written, const Zoo& zoo, const std::string& where) {
  std::vector<ZooExpert> experts;
  std::set<std::string> names;
  for (const json& entry : written) {
    std::set<std::string> own;
    ZooExpert expert{entry.at("name").get<std::string>(), entry.at("tasks").get<std::vector<std::string>>(),
                     entry.value("classes", std::map<std::string, std::vector<std::string>>())};
    check_task_name(expert.name, where + ": the name of an expert");
    if (!names.insert(expert.name).second) {
      throw DataError(where + ": expert '" + expert.name + "' is there twice");
    }
    check_tasks_of(expert, expert.tasks, zoo, where);
    check_classes(expert, zoo, where);
    for (const std::string& task : expert.tasks) {
      if (!own.insert(task).second) {
        throw DataError(where + ": task '" + task + "' of expert '" + expert.name + "' is there twice");
      }
    }
    experts.push_back(std::move(expert));
  }
  return experts;
}

Zoo parse_zoo(const json& written, const fs::path& folder, const std::string& where) {
  const json& format = written.at("format");
  const json& version = written.at("version");
  if (format != kFormat || version != kVersion) {
    throw DataError(
        where + ": format and version must be " + kFormat + " and " + std::to_string(kVersion) +
        ", but are " + format.dump() + " and " + version.dump() +
        "; delete the file and run the command that made it again (fusegrid zoo build, zoo import): models "
        "that are there are not trained again");
  }
  Zoo zoo;
  zoo.folder = folder;
  zoo.name = written.at("name").get<std::string>();
  check_name(zoo.name, where + ": the name of the zoo");
  zoo.recipe = written.value("recipe", "");
  zoo.scale = written.at("scale").get<std::string>();
  zoo.suite = written.at("suite").get<std::string>();
  zoo.pack = find_pack(folder, written.at("pack").get<std::string>());
  zoo.pack_sha256 = written.at("pack_sha256").get<std::string>();
  zoo.tokenizer_sha256 = written.value("tokenizer_sha256", "");
  zoo.tasks = written.at("tasks").get<std::vector<std::string>>();
  std::set<std::string> tasks;
  for (const std::string& task : zoo.tasks) {
    check_task_name(task, where + ": the name of a task");
    if (!tasks.insert(task).second) {
      throw DataError(where + ": task '" + task + "' is there twice");
    }
  }
  zoo.experts = parse_experts(written.at("experts"), zoo, where);
  zoo.pooling = parse_pooling(written.value("pooling", to_string(Pooling::kFirst)), where);
  zoo.imported = written.value("imported", false);
  std::set<int64_t> seeds;
  for (const json& replicate : written.at("replicates")) {
    zoo.replicates.push_back(parse_replicate(replicate, zoo, where));
    if (!seeds.insert(zoo.replicates.back().seed).second) {
      throw DataError(where + ": seed " + std::to_string(zoo.replicates.back().seed) + " is there twice");
    }
  }
  if (zoo.replicates.empty() || zoo.experts.empty()) {
    throw DataError(where + ": a zoo needs at least one expert and one replicate");
  }
  if (zoo.tasks.empty() != zoo.pack.empty()) {
    throw DataError(where + ": a zoo needs a task pack where it has tasks and nowhere else, but it has " +
                    (zoo.tasks.empty() ? "a pack and no task" : "tasks and no pack"));
  }
  check_heads(zoo, where);
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

std::map<std::string, double> scores_below(const std::map<std::string, double>& scores,
                                           const std::string& prefix) {
  std::map<std::string, double> below;
  for (const auto& [name, score] : scores) {
    if (name.starts_with(prefix)) {
      below.emplace(name.substr(prefix.size()), score);
    }
  }
  return below;
}

std::vector<int64_t> labels_seen(const ZooExpert& expert, const TaskInfo& task) {
  std::vector<int64_t> labels(task.class_names.size());
  std::iota(labels.begin(), labels.end(), int64_t{0});
  const auto some = expert.classes.find(task.name);
  if (some == expert.classes.end()) {
    return labels;
  }
  const auto begin = task.class_names.begin(), end = task.class_names.end();
  std::set<int64_t> seen;
  for (const std::string& name : some->second) {
    const auto found = std::find(begin, end, name);
    if (found == end) {
      throw ConfigError("expert '" + expert.name + "' is said to have seen the class '" + name +
                        "' of task '" + task.name + "'" +
                        (begin == end
                             ? ", which has no classes; take the task out of its 'classes' in zoo.json"
                             : alternatives(name, task.class_names)));
    }
    seen.insert(found - begin);
  }
  return {seen.begin(), seen.end()};
}

Zoo Zoo::load(const fs::path& folder) {
  Zoo zoo = read(folder);
  check_files(zoo);
  return zoo;
}

Zoo Zoo::read(const fs::path& folder) {
  const fs::path file = folder / "zoo.json";
  if (!is_there(file)) {
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
  const bool named = pack.empty() || pack.parent_path() == folder || pack.parent_path() == data_folder();
  json of_experts = json::array();
  for (const ZooExpert& expert : experts) {
    of_experts.push_back({{"name", expert.name}, {"tasks", expert.tasks}});
    if (!expert.classes.empty()) {
      of_experts.back()["classes"] = expert.classes;
    }
  }
  json written{{"format", kFormat},
               {"version", kVersion},
               {"name", name},
               {"scale", scale},
               {"suite", suite},
               {"pack", named ? pack.filename().string() : fs::absolute(pack).string()},
               {"pack_sha256", pack_sha256},
               {"tasks", tasks},
               {"experts", of_experts},
               {"pooling", to_string(pooling)},
               {"replicates", all}};
  if (!recipe.empty()) {
    written["recipe"] = recipe;
  }
  if (imported) {
    written["imported"] = true;
  }
  if (!tokenizer_sha256.empty()) {
    written["tokenizer_sha256"] = tokenizer_sha256;
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
      missing + " (seeds: " + join(seeds, ", ") + "); train them with '" + build_command(*this, missing) +
      "' (--seeds FIRST..LAST for several), or take the seed out of the job");
}

std::vector<std::string> Zoo::expert_names() const {
  std::vector<std::string> names;
  for (const ZooExpert& expert : experts) {
    names.push_back(expert.name);
  }
  return names;
}

const ZooExpert& Zoo::expert(const std::string& wanted) const {
  const auto found = std::find_if(experts.begin(), experts.end(),
                                  [&](const ZooExpert& each) { return each.name == wanted; });
  FUSEGRID_ASSERT(found != experts.end(), "zoo '" + name + "' has no expert '" + wanted + "'");
  return *found;
}

std::vector<std::string> Zoo::experts_called(const std::string& text) const {
  const auto names = expert_names();
  if (is_count(text)) {
    const int64_t count = parse_int(text, "experts");
    if (count < 1 || count > static_cast<int64_t>(names.size())) {
      throw ConfigError("experts must be 1 to " + std::to_string(names.size()) + " in zoo '" + name +
                        "', but it is " + text);
    }
    return {names.begin(), names.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  const auto chosen = split(text, '+');
  std::set<std::string> seen;
  for (const std::string& expert : chosen) {
    if (std::find(names.begin(), names.end(), expert) == names.end() || !seen.insert(expert).second) {
      throw ConfigError("experts must be a number or different experts of zoo '" + name +
                        "' joined by '+', but '" + text + "' has '" + expert + "'" +
                        alternatives(expert, names));
    }
  }
  return chosen;
}

std::vector<std::string> Zoo::experts_for(const std::string& task) const {
  std::vector<std::string> names;
  for (const ZooExpert& expert : experts) {
    if (std::find(expert.tasks.begin(), expert.tasks.end(), task) != expert.tasks.end()) {
      names.push_back(expert.name);
    }
  }
  return names;
}

std::map<std::string, std::string> Zoo::owners(const std::vector<std::string>& names) const {
  std::map<std::string, std::string> owners;
  for (const std::string& task : tasks) {
    const auto made_for_it = experts_for(task);
    if (made_for_it.size() == 1 &&
        std::find(names.begin(), names.end(), made_for_it.front()) != names.end()) {
      owners.emplace(task, made_for_it.front());
    }
  }
  return owners;
}

std::vector<std::string> Zoo::tasks_of(const std::vector<std::string>& names) const {
  std::vector<std::string> chosen;
  std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(chosen), [&](const std::string& task) {
    const auto made_for_it = experts_for(task);
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return std::find(made_for_it.begin(), made_for_it.end(), name) != made_for_it.end();
    });
  });
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
  return !unreadable && is_there(installed) ? installed : fs::path(FUSEGRID_SOURCE_DATA);
}

fs::path cache_folder() {
  if (const char* folder = std::getenv("FUSEGRID_CACHE")) {
    return folder;
  }
  if (const char* folder = std::getenv("XDG_CACHE_HOME")) {
    return fs::path(folder) / "fusegrid";
  }
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : ".") / ".cache" / "fusegrid";
}

Zoo find_zoo(const std::string& name_or_folder) {
  for (const fs::path& folder : {zoos_folder() / name_or_folder, fs::path(name_or_folder)}) {
    if (is_there(folder / "zoo.json")) {
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
    if (is_there(entry.path() / "zoo.json")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace fusegrid
