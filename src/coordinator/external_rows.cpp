#include "coordinator/external_rows.h"

#include "coordinator/at_line.h"
#include "coordinator/command_keys.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

bool is_folder(const std::string& section) {
  return section.starts_with("folder:");
}

std::vector<std::string> keys_of(const std::string& section) {
  return is_folder(section) ? std::vector<std::string>{"path"}
                            : std::vector<std::string>{"command", "timeout_s"};
}

std::string digest_of_model(const Zoo& zoo, const Cell& cell, const fs::path& folder) {
  const Replicate& replicate = zoo.replicate(cell.seed);
  if (std::error_code none; !fs::is_directory(folder, none)) {
    throw ConfigError("'path' must be the folder of a model, but there is no folder '" + folder.string() +
                      "' for cell '" + cell.name() + "'; put the model there, or correct the path");
  }
  const auto architecture = load_network_without_readouts(replicate.layout(), at::kCPU).architecture;
  check_layout(*architecture, replicate, folder);
  return model_digest(*architecture, replicate, folder);
}

class Binder {
 public:
  Binder(const JobZoos& zoos, std::vector<Cell>& cells) : cells_(cells) {
    for (const auto& [text, zoo] : zoos) {
      zoos_[zoo.name] = &zoo;
    }
  }

  void bind(const std::string& method, ExternalRow& row) {
    if (!is_folder(method)) {
      digest_files(row.command);
    }
    for (Cell& cell : cells_) {
      if (cell.method == method) {
        cell.method_bindings = is_folder(method) ? of_folder(cell, row) : command_bindings(row.command);
      }
    }
  }

 private:
  using Bindings = std::map<std::string, std::string>;

  Bindings of_folder(const Cell& cell, ExternalRow& row) const {
    const std::string folder = folder_of(row, cell).string();
    std::string& digest = row.digests[folder];
    if (digest.empty()) {
      digest = digest_of_model(*zoos_.at(cell.zoo), cell, folder);
    }
    return {{"path", row.path}, {"model", digest}};
  }

  std::map<std::string, const Zoo*> zoos_;
  std::vector<Cell>& cells_;
};

}  // namespace

std::string read_external_key(const std::string& line, const std::string& section, ExternalRow& row) {
  const KeyLine read = read_key_line(line, section, keys_of(section));
  if (!read_command_key(read, "python3 my_merge.py", row.command)) {
    row.path = single_word(read.key, read.value);
  }
  return read.key;
}

std::string missing_line(const std::string& section, const ExternalRow& row) {
  if (!row.command.words.empty() || !row.path.empty()) {
    return "";
  }
  return is_folder(section) ? "path = FOLDER" : "command = PROGRAM ... " + std::string(kRequestWord);
}

void bind_external_rows(JobSpec& job, const JobZoos& zoos, std::vector<Cell>& cells) {
  Binder binder(zoos, cells);
  for (MethodGrid& grid : job.methods) {
    if (grid.external) {
      at_line(job, grid.line, [&] { binder.bind(grid.method, *grid.external); });
    }
  }
}

}  // namespace fusegrid
