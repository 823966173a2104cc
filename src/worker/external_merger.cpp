#include "worker/external_merger.h"

#include <chrono>
#include <cstdlib>
#include <thread>

#include <ATen/Parallel.h>
#include <sys/wait.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/posix_file.h"
#include "core/text.h"
#include "fusion/cell_merge.h"
#include "worker/child_process.h"
#include "worker/executor.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{20};  // at a command that runs
constexpr int64_t kMostLogged = int64_t{16} << 20;
constexpr size_t kLastWords = 600;  // bytes of a command's output in a message

// A folder of one merge, which goes with it.
class ScratchFolder {
 public:
  explicit ScratchFolder(const fs::path& parent) {
    fs::create_directories(parent);
    std::string name = (parent / "XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      throw IoError(system_message("make a folder in", parent));
    }
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;  // what is left goes when the run ends
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

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
          {"base", fs::absolute(replicate.base).string()},
          {"experts", experts},
          {"out", out.string()}};
}

// What the executor may see; without a supervisor nobody has told it, and its device has the number that the driver
// gives it.
std::string visible_gpus(at::Device device) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible != nullptr ? visible : device.is_cuda() ? std::to_string(device.index()) : "";
}

ChildOptions child_options(const ExternalRow& row, const fs::path& request, at::Device device) {
  ChildOptions options;
  options.executable = program_of(row).string();
  options.arguments.assign(row.words.begin() + 1, row.words.end());
  for (std::string& argument : options.arguments) {
    if (const size_t at = argument.find(kRequestWord); at != std::string::npos) {
      argument.replace(at, std::string_view(kRequestWord).size(), request.string());
    }
  }
  options.threads = at::get_num_threads();
  options.visible_gpus = visible_gpus(device);
  options.leads_session = false;  // it belongs to that of the executor, and ends with it
  return options;
}

// The end of what it printed, on one line.
std::string last_words(const std::string& tail) {
  std::string text = trim(tail);
  if (text.empty()) {
    return "it printed nothing";
  }
  if (text.size() > kLastWords) {
    text = "... " + text.substr(text.size() - kLastWords);
  }
  return "it printed: " + join(split(text, '\n'), " | ");
}

std::string end_text(int status) {
  return WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status))
                             : "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

// Runs it to its end. Throws DataError where that is no good one, or does not come in time.
void run_to_its_end(const std::string& method, const ExternalRow& row, const ChildOptions& options,
                    const std::function<void()>& tick) {
  const std::string who = "the command of [" + method + "] ";
  LogCapture log("/dev/stdout", kMostLogged);  // the executor's own log
  log.start_item("command of " + method);
  ChildProcess child(options, log);
  const auto deadline = steady_clock::now() + std::chrono::seconds(row.timeout_s);
  while (!child.has_ended()) {
    log.pump();
    if (steady_clock::now() > deadline) {
      child.reap(0);
      log.pump();
      throw DataError(who + "must end within timeout_s = " + number_text(row.timeout_s) +
                      " s, but did not and was killed; " + last_words(log.tail()));
    }
    tick();
    std::this_thread::sleep_for(kLook);
  }
  const int status = child.reap(0);
  log.pump();
  if (status != 0) {
    throw DataError(who + end_text(status) + "; " + last_words(log.tail()));
  }
}

// What the run began with.
void check_files(const ExternalRow& row) {
  for (const auto& [file, sha256] : row.digests) {
    if (sha256_of_file(file) != sha256) {
      throw DataError("the command '" + row.command + "' names '" + file +
                      "', which has changed since the run began; run the same job again");
    }
  }
}

Weights load_written(const std::string& method, const OpenZoo& zoo, const Cell& cell, const Network& network,
                     const fs::path& out) {
  const Replicate& replicate = zoo.zoo().replicate(cell.seed);
  try {
    if (!fs::is_directory(out)) {
      throw DataError("it has written no folder there");
    }
    check_layout(*network.architecture, replicate, out);
    return load_weights(*network.architecture, replicate.base, out, network.device);
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
  return row.path.empty() ? run_command(cell, row, zoo, tick) : load_folder(cell, row, zoo);
}

FusedModel ExternalMerger::load_folder(const Cell& cell, const ExternalRow& row, OpenZoo& zoo) const {
  const fs::path folder = folder_of(row, cell);
  const Network& network = zoo.network(cell.seed);
  Weights weights = reading_inputs([&] {
    return load_weights(*network.architecture, zoo.zoo().replicate(cell.seed).base, folder, device_);
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

FusedModel ExternalMerger::run_command(const Cell& cell, const ExternalRow& row, OpenZoo& zoo,
                                       const std::function<void()>& tick) {
  auto read = read_models(cell, zoo, tick);
  reading_inputs([&] { check_files(row); });
  const ScratchFolder scratch(settings_.folder);
  const fs::path request = scratch.path() / "request.json";
  const fs::path out = scratch.path() / "merged";
  write_synced(request, request_of(cell, zoo.zoo(), out).dump(2) + "\n");
  run_to_its_end(cell.method, row, child_options(row, request, device_), tick);
  FusedModel model = one_model(load_written(cell.method, zoo, cell, zoo.network(cell.seed), out));
  model.facts = std::move(read);
  model.facts["command"] = row.command;
  for (const auto& [file, sha256] : row.digests) {
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
