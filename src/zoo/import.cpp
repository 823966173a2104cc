// Describes models that are there as a zoo.
#include <algorithm>

#include "core/errors.h"
#include "core/names.h"
#include "store/task_pack.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace fs = std::filesystem;

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
  zoo.pack = fs::absolute(request.pack);
  Replicate replicate;
  replicate.base = fs::absolute(request.base);
  const bool has_heads = !request.heads.empty();
  replicate.heads = has_heads ? fs::absolute(request.heads) : fs::path();
  zoo.pooling = has_heads ? request.pooling : Pooling::kNone;
  for (const auto& [task, folder] : request.experts) {
    check_task_name(task, "the name of a task");
    if (std::ranges::count(zoo.tasks, task) > 0) {
      throw ConfigError("task '" + task + "' is given twice; a zoo has one expert for each task");
    }
    zoo.tasks.push_back(task);
    if (!folder.empty()) {
      zoo.experts.push_back({task, {task}});
      replicate.experts.emplace(task, fs::absolute(folder));
    }
  }
  check_layouts(zoo, replicate);
  const Network network = load_network(zoo, replicate, at::kCPU);
  for (const std::string& model : models_of(replicate)) {
    replicate.digests[model] =
        model_digest(*network.architecture, replicate, model_folder(zoo, replicate, model));
  }
  const TaskPack pack(zoo.pack);
  if (pack.tokens() != nullptr) {
    zoo.tokenizer_sha256 = pack.tokens()->tokenizer_sha256;
  }
  check_pack(zoo, network);
  zoo.pack_sha256 = pack.sha256();
  zoo.replicates.push_back(std::move(replicate));
  zoo.imported = true;
  fs::create_directories(zoo.folder);
  zoo.save();
  return zoo;
}

}  // namespace fusegrid
