// Describes models that are there as a zoo.
#include <set>

#include "core/errors.h"
#include "core/names.h"
#include "store/task_pack.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

// With a task pack each expert owns the task of its name.
void add_experts(const ImportRequest& request, Zoo& zoo, Replicate& replicate) {
  const bool has_tasks = !request.pack.empty();
  if (!has_tasks && !request.heads.empty()) {
    throw ConfigError(
        "heads are those of a task pack's tasks, but there is no pack; name it with --pack, or leave the "
        "heads "
        "out");
  }
  std::set<std::string> names;
  for (const auto& [name, folder] : request.experts) {
    check_task_name(name, has_tasks ? "the name of a task" : "the name of an expert");
    if (!names.insert(name).second) {
      throw ConfigError((has_tasks ? "task '" : "expert '") + name +
                        "' is given twice; a zoo has one expert for each task");
    }
    if (!has_tasks && folder.empty()) {
      throw ConfigError("task '" + name +
                        "' must be one of a task pack, but there is no pack; name it with --pack");
    }
    if (has_tasks) {
      zoo.tasks.push_back(name);
    }
    if (!folder.empty()) {
      zoo.experts.push_back({name, has_tasks ? std::vector{name} : std::vector<std::string>()});
      replicate.experts.emplace(name, fs::absolute(folder));
    }
  }
}

}  // namespace

Zoo import_zoo(const ImportRequest& request) {
  Zoo zoo;
  zoo.folder = (fs::absolute(request.folder).lexically_normal() / "").parent_path();  // "zoos/a/" is "zoos/a"
  zoo.name = zoo.folder.filename().string();
  check_name(zoo.name, "the name of a zoo, which is its folder's,");
  if (!request.replace && fs::exists(zoo.folder / "zoo.json")) {
    throw ConfigError("there is a zoo in '" + zoo.folder.string() +
                      "'; import into another folder, or replace its " +
                      "description with --replace (results made with it then belong to another zoo)");
  }
  zoo.scale = request.scale;
  zoo.suite = request.suite;
  zoo.pack = request.pack.empty() ? fs::path() : fs::absolute(request.pack);
  Replicate replicate;
  replicate.base = fs::absolute(request.base);
  const bool has_heads = !request.heads.empty();
  replicate.heads = has_heads ? fs::absolute(request.heads) : fs::path();
  zoo.pooling = has_heads ? request.pooling : Pooling::kNone;
  add_experts(request, zoo, replicate);
  check_layouts(zoo, replicate);
  const Network network = load_network(zoo, replicate, at::kCPU);
  for (const std::string& model : models_of(replicate)) {
    replicate.digests[model] =
        model_digest(*network.architecture, replicate, model_folder(zoo, replicate, model));
  }
  if (!zoo.pack.empty()) {
    const TaskPack pack(zoo.pack);
    if (pack.tokens() != nullptr) {
      zoo.tokenizer_sha256 = pack.tokens()->tokenizer_sha256;
    }
    check_pack(zoo, network);
    zoo.pack_sha256 = pack.sha256();
  }
  zoo.replicates.push_back(std::move(replicate));
  zoo.imported = true;
  fs::create_directories(zoo.folder);
  zoo.save();
  return zoo;
}

}  // namespace fusegrid
