#include "worker/external_merger.h"

#include <ATen/Parallel.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "fusion/cell_merge.h"
#include "worker/command_run.h"
#include "worker/executor.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

nlohmann::json request_of(const Cell& cell, const Zoo& zoo, const fs::path& out) {
  const Replicate& replicate = zoo.replicate(cell.seed);
  const auto names = zoo.experts_called(cell.experts);
  auto experts = nlohmann::json::array();
  for (const std::string& name : names) {
    const fs::path folder = fs::absolute(model_folder(zoo, replicate, expert_model(name)));
    experts.push_back({{"name", name},
                       {"folder", folder.string()},
                       {"adapter", is_adapter(folder)},
                       {"tasks", zoo.tasks_of({name})}});
  }
  return {{"version", 1},
          {"row", method_registry().at(cell.method).card.title},
          {"zoo", zoo.name},
          {"seed", cell.seed},
          {"threads", at::get_num_threads()},
          {"base",
           replicate.base.empty() ? nlohmann::json() : nlohmann::json(fs::absolute(replicate.base).string())},
          {"experts", experts},
          {"out", out.string()}};
}

Weights load_written(const std::string& method, const OpenZoo& zoo, const Cell& cell, const Network& network,
                     const fs::path& out) {
  const Replicate& replicate = zoo.zoo().replicate(cell.seed);
  try {
    if (!fs::is_directory(out)) {
      throw DataError("it has written no folder there");
    }
    check_layout(*network.architecture, replicate, out);
    return load_weights(*network.architecture, replicate.layout(), out, network.device);
  } catch (const Error& error) {
    throw DataError(
        "the command of [" + method +
        "] must write a model of the zoo's architecture to the folder 'out' of its request, but: " +
        error.what());
  }
}

}  // namespace

FusedModel ExternalMerger::merge(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick) {
  const auto found = settings_.rows.find(cell.method);
  if (found == settings_.rows.end()) {
    throw ConfigError("the job has no section [" + cell.method + "]");
  }
  const ExternalRow& row = found->second;
  return row.path.empty() ? merge_by_command(cell, row, zoo, tick) : load_folder(cell, row, zoo);
}

FusedModel ExternalMerger::load_folder(const Cell& cell, const ExternalRow& row, OpenZoo& zoo) const {
  const fs::path folder = folder_of(row, cell);
  const Network& network = zoo.network(cell.seed);
  Weights weights = reading_inputs([&] {
    return load_weights(*network.architecture, zoo.zoo().replicate(cell.seed).layout(), folder, device_);
  });
  reading_inputs([&] {
    if (const auto began = row.digests.find(folder.string());
        began != row.digests.end() && began->second != digest(weights)) {
      throw DataError("'" + folder.string() + "' of [" + cell.method +
                      "] is another model than it was when the run began; run the same job again");
    }
  });
  FusedModel model = one_model(std::move(weights));
  model.facts["path"] = folder.string();
  return model;
}

FusedModel ExternalMerger::merge_by_command(const Cell& cell, const ExternalRow& row, OpenZoo& zoo,
                                            const std::function<void()>& tick) {
  auto read = read_models(cell, zoo, tick);
  reading_inputs([&] { check_files(row.command); });
  const ScratchFolder scratch(settings_.folder);
  const fs::path request = scratch.path() / "request.json";
  const fs::path out = scratch.path() / "merged";
  write_synced(request, request_of(cell, zoo.zoo(), out).dump(2) + "\n");
  run_command(row.command, cell.method, request, device_, tick);
  FusedModel model = one_model(load_written(cell.method, zoo, cell, zoo.network(cell.seed), out));
  model.facts = std::move(read);
  model.facts["command"] = row.command.text;
  for (const auto& [file, sha256] : row.command.files) {
    model.facts["read " + file] = sha256;
  }
  return model;
}

// Base and experts as a command finds them: "read base" -> digest.
std::map<std::string, std::string> ExternalMerger::read_models(const Cell& cell, OpenZoo& zoo,
                                                               const std::function<void()>& tick) {
  const Zoo& of = zoo.zoo();
  const Replicate& replicate = of.replicate(cell.seed);
  const Architecture& architecture = *zoo.network(cell.seed).architecture;
  std::vector<std::string> models{kBaseModel};
  for (const std::string& expert : of.experts_called(cell.experts)) {
    models.push_back(expert_model(expert));
  }
  std::map<std::string, std::string> read;
  reading_inputs([&] {
    for (const std::string& model : models) {
      const fs::path folder = model_folder(of, replicate, model);
      if (checked_.insert(folder.string()).second) {
        check_model(architecture, replicate, model, folder);
      }
      read["read " + model] = model_key(architecture, of, replicate, model);
      tick();
    }
  });
  return read;
}

}  // namespace fusegrid
