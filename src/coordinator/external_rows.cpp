#include "coordinator/external_rows.h"

#include <algorithm>
#include <utility>

#include "coordinator/at_line.h"
#include "core/alternatives.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLongestTimeout = 604800;  // a week

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

bool is_folder(const std::string& section) {
  return section.starts_with("folder:");
}

std::vector<std::string> keys_of(const std::string& section) {
  return is_folder(section) ? std::vector<std::string>{"path"}
                            : std::vector<std::string>{"command", "timeout_s"};
}

bool names_request(const std::string& word) {
  return word.find(kRequestWord) != std::string::npos;
}

void read_command(const LineValue& value, ExternalRow& row) {
  if (std::none_of(value.words.begin(), value.words.end(), names_request)) {
    throw ConfigError("'command' must have " + std::string(kRequestWord) +
                      " where the command takes the file that says what is to be merged, but it is '" +
                      value.text + "'; write 'command = python3 my_merge.py " + kRequestWord + "'");
  }
  row.command = value.text;
  row.words = value.words;
}

const std::string& single(const std::string& key, const LineValue& value) {
  if (value.words.size() != 1) {
    throw ConfigError("'" + key + "' takes a single value, but it is '" + value.text +
                      "'; put a value with spaces in quotes");
  }
  return value.words.front();
}

void read_timeout(const std::string& text, ExternalRow& row) {
  row.timeout_s = parse_int(text, "'timeout_s'");
  if (row.timeout_s < 1 || row.timeout_s > kLongestTimeout) {
    throw ConfigError("'timeout_s' must lie in [1, " + number_text(kLongestTimeout) + "], but it is " + text);
  }
}

// The files that a command names: their content decides what it does.
void bind_command(ExternalRow& row) {
  const fs::path program = program_of(row);
  for (size_t i = 0; i < row.words.size(); ++i) {
    const std::string& word = row.words[i];
    const bool is_searched = i == 0 && program != word;  // what the system installed is not ours to watch
    std::error_code none;
    if (!is_searched && fs::is_regular_file(word, none)) {
      row.digests[word] = sha256_of_file(word);
    }
  }
}

std::string digest_of_model(const Zoo& zoo, const Cell& cell, const fs::path& folder) {
  const Replicate& replicate = zoo.replicate(cell.seed);
  if (std::error_code none; !fs::is_directory(folder, none)) {
    throw ConfigError("'path' must be the folder of a model, but there is no folder '" + folder.string() +
                      "' for cell '" + cell.name() + "'; put the model there, or correct the path");
  }
  const auto architecture = load_network_without_readouts(replicate.base, at::kCPU).architecture;
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
      bind_command(row);
    }
    for (Cell& cell : cells_) {
      if (cell.method == method) {
        cell.method_bindings = is_folder(method) ? of_folder(cell, row) : of_command(row);
      }
    }
  }

 private:
  using Bindings = std::map<std::string, std::string>;

  static Bindings of_command(const ExternalRow& row) {
    Bindings bindings{{"command", row.command}};
    for (const auto& [file, sha256] : row.digests) {
      bindings["file " + file] = sha256;
    }
    return bindings;
  }

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

LineValue line_value(const std::string& text) {
  LineValue value;
  bool in_word = false;
  char quote = '\0';
  size_t end = 0;
  for (; end < text.size() && (quote != '\0' || text[end] != '#'); ++end) {
    const char c = text[end];
    if (quote == '\0' && is_space(c)) {
      in_word = false;
      continue;
    }
    if (!std::exchange(in_word, true)) {
      value.words.emplace_back();
    }
    if (quote == '"' && c == '\\' && end + 1 < text.size() &&
        (text[end + 1] == '"' || text[end + 1] == '\\')) {
      value.words.back() += text[++end];
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote != '\0' && c == quote) {
      quote = '\0';
    } else {
      value.words.back() += c;
    }
  }
  value.text = trim(text.substr(0, end));
  if (quote != '\0') {
    throw ConfigError("a quote that begins must end on its line, but " + std::string(1, quote) +
                      " has no end in: " + value.text);
  }
  return value;
}

std::string read_external_key(const std::string& line, const std::string& section, ExternalRow& row) {
  const size_t equals = line.find('=');
  if (equals == std::string::npos) {
    throw ConfigError("'" + trim(line) + "' is neither 'key = value' nor '[method]'");
  }
  const std::string key = trim(line.substr(0, equals));
  const std::vector<std::string> known = keys_of(section);
  if (std::find(known.begin(), known.end(), key) == known.end()) {
    throw ConfigError("[" + section + "] has no key '" + key + "'" + alternatives(key, known));
  }
  const LineValue value = line_value(line.substr(equals + 1));
  if (value.words.empty()) {
    throw ConfigError("'" + key + "' has no value");
  }
  if (key == "command") {
    read_command(value, row);
  } else if (key == "timeout_s") {
    read_timeout(single(key, value), row);
  } else {
    row.path = single(key, value);
  }
  return key;
}

std::string missing_line(const std::string& section, const ExternalRow& row) {
  if (!row.command.empty() || !row.path.empty()) {
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

nlohmann::json external_settings(const JobSpec& job, const fs::path& folder) {
  auto rows = nlohmann::json::object();
  for (const MethodGrid& grid : job.methods) {
    if (grid.external) {
      rows[grid.method] = *grid.external;
    }
  }
  return {{"rows", rows}, {"folder", fs::absolute(folder).string()}};
}

}  // namespace fusegrid
