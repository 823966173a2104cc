#include "worker/external_evaluator.h"

#include <fstream>
#include <iterator>

#include <ATen/Parallel.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "worker/executor.h"
#include "worker/model_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModel = "model";                       // in the scratch folder of a merge
constexpr std::uintmax_t kLongestAnswer = uint64_t{1} << 30;  // bytes

// Examples of the split at most; null: all.
nlohmann::json limit_of(const ExternalTask& task, const std::string& split, int64_t validation) {
  int64_t limit = task.limit > 0 ? task.limit : -1;
  if (split == "val" && validation >= 0) {
    limit = limit < 0 ? validation : std::min(limit, validation);
  }
  return limit < 0 ? nlohmann::json() : nlohmann::json(limit);
}

std::string read_answer(const fs::path& file) {
  std::error_code missing;
  if (!fs::is_regular_file(file, missing)) {
    throw DataError("it has written no file there");
  }
  if (fs::file_size(file) > kLongestAnswer) {
    throw DataError("the file has " + std::to_string(fs::file_size(file)) + " bytes, more than " +
                    std::to_string(kLongestAnswer));
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in.good() && !in.eof()) {
    throw IoError("cannot read '" + file.string() + "'");
  }
  return text;
}

}  // namespace

// A merge that is held in bfloat16 is what the cell is about, and what is written.
const ExternalEvaluator::WrittenMerge& ExternalEvaluator::written(const Cell& cell, const Merge& merge,
                                                                  OpenZoo& zoo) {
  const bool per_task = method_registry().at(cell.method).card.yields == Yields::kModelPerTask;
  const std::string name = merge.name + (per_task ? "/" + settings_.tasks.at(cell.task).expert : "");
  if (written_.name == name) {
    return written_;
  }
  written_ = {};
  const Weights* parameters = merge.model.predictor->model_of(cell.task);
  if (parameters == nullptr) {
    throw ConfigError("method '" + cell.method + "' makes no single model that answers '" + cell.task +
                      "', as a folder for its command must hold");
  }
  const Network& network = zoo.network(cell.seed);
  const Replicate& replicate = zoo.zoo().replicate(cell.seed);
  auto scratch = std::make_unique<ScratchFolder>(settings_.folder);
  write_model_folder(scratch->path() / kModel,
                     {.base = replicate.layout(),
                      .architecture = *network.architecture,
                      .parameters = *parameters,
                      .dtype = network.precision == Precision::kBf16 ? at::kBFloat16 : at::kFloat,
                      .heads = heads_of_merge(merge.model, replicate, zoo.zoo().tasks)});
  written_ = {name, digest(*parameters), std::move(scratch)};
  return written_;
}

ExternalEvaluator::Evaluation ExternalEvaluator::evaluate(const Cell& cell, const Merge& merge, OpenZoo& zoo,
                                                          const std::function<void()>& tick) {
  const ExternalTask& task = settings_.tasks.at(cell.task);
  const std::string section = "task:" + cell.task;
  reading_inputs([&] { check_files(task.command); });
  const WrittenMerge& model = written(cell, merge, zoo);
  tick();
  Evaluation evaluation;
  evaluation.facts = {{"task command", task.command.text}, {"task read model", model.sha256}};
  for (const auto& [file, sha256] : task.command.files) {
    evaluation.facts["task read " + file] = sha256;
  }
  for (const std::string& split : settings_.splits) {
    if (split == "val" && !task.has_validation) {
      continue;
    }
    const ScratchFolder scratch(settings_.folder);
    const fs::path out = scratch.path() / "answer.json";
    const nlohmann::json request = {{"version", 1},
                                    {"task", cell.task},
                                    {"split", split},
                                    {"metric", task.metric},
                                    {"limit", limit_of(task, split, settings_.validation)},
                                    {"model", (model.scratch->path() / kModel).string()},
                                    {"cell", cell.name()},
                                    {"zoo", cell.zoo},
                                    {"method", method_registry().at(cell.method).card.title},
                                    {"experts", zoo.zoo().experts_called(cell.experts)},
                                    {"seed", cell.seed},
                                    {"threads", at::get_num_threads()},
                                    {"out", out.string()}};
    write_synced(scratch.path() / "request.json", request.dump(2) + "\n");
    run_command(task.command, section, scratch.path() / "request.json", device_, tick);
    try {
      const std::string text = read_answer(out);
      evaluation.answers.emplace(split, read_external_answer(text, cell.task, task));
      evaluation.facts["task answer " + split] = sha256_hex(text);
    } catch (const DataError& error) {
      throw DataError(
          "the command of [" + section +
          "] must write what the model scores to the file 'out' of its request, but: " + error.what());
    }
  }
  return evaluation;
}

}  // namespace fusegrid
