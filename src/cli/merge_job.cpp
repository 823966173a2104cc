#include "cli/merge_job.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "coordinator/job_file.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "core/text_file.h"
#include "fusion/called_elsewhere.h"
#include "fusion/method.h"
#include "merge/merge.h"

namespace fusegrid {
namespace {

const std::set<std::string> kKeys{"base",
                                  "components",
                                  "expert",
                                  "keep",
                                  "out",
                                  "dtype",
                                  "shard-size",
                                  "memory-limit",
                                  "keep-on-gpu",
                                  "threads",
                                  "device",
                                  "seed",
                                  "digests",
                                  "precision",
                                  "inputs-are",
                                  "reduction",
                                  "allow-vocabulary-mismatch",
                                  "allow-non-finite",
                                  "allow-head-mismatch",
                                  "tokenizer-from",
                                  "follow-links"};

// "models:", "- model: a", "merge_method: ties"
bool is_yaml(const std::string& line) {
  const size_t colon = line.find(':');
  const size_t equals = line.find('=');
  return line.starts_with("- ") || line == "---" ||
         (colon < equals && colon != std::string::npos &&
          (colon + 1 == line.size() || line[colon + 1] == ' '));
}

constexpr double kMostConfigurations = 10000;  // each is a folder: more are a mistake

class Parser {
 public:
  explicit Parser(std::filesystem::path file) : file_(std::move(file)) {}

  void read_line(const std::string& line) {
    ++line_;
    const std::string text = trim(line.substr(0, line.find('#')));
    if (text.empty()) {
      return;
    }
    if (text.front() == '[') {
      open_section(text);
      return;
    }
    const size_t equals = text.find('=');
    if (is_yaml(text)) {
      fail("'" + text +
           "' is YAML, as job files of mergekit are; here a job has lines 'key = value' and a section for " +
           "each method, such as [ties]; give a file of mergekit as it is: --mergekit " + file_.string());
    }
    const std::string key = trim(text.substr(0, equals));
    const std::string value = equals == std::string::npos ? "" : trim(text.substr(equals + 1));
    if (key.empty() || value.empty()) {
      fail("'" + text + "' is neither 'key = value' nor '[method]'");
    }
    if (grids_.empty()) {
      read_setting(key, value);
    } else {
      read_parameter(key, value);
    }
  }

  MergeJob finish() {
    double configurations = 0;
    for (const MethodGrid& grid : grids_) {
      configurations += grid.num_combinations();
    }
    if (configurations > kMostConfigurations) {
      fail("a merge job must have at most " + number_text(kMostConfigurations) +
           " configurations, but it asks for " +
           number_text(static_cast<int64_t>(std::min(configurations, 1e18))) +
           "; take values out of the grid");
    }
    for (const MethodGrid& grid : grids_) {
      for (const ParamText& parameters : grid.combinations()) {
        job_.methods.push_back({grid.method, parameters});
      }
    }
    if (job_.methods.empty()) {
      fail("a merge job needs a section for every method, such as [task_arithmetic]");
    }
    return std::move(job_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw ConfigError(place() + ": " + message); }
  std::string place() const { return file_.string() + ":" + std::to_string(line_); }

  void open_section(const std::string& text) {
    if (text.back() != ']') {
      fail("the section '" + text + "' must end with ']'");
    }
    const std::string header = trim(text.substr(1, text.size() - 2));
    if (header.starts_with("task:")) {
      fail("[" + header +
           "] is a task of a grid, which 'fusegrid run' evaluates; leave it out of a merge job");
    }
    try {
      grids_.push_back({.section = header, .method = method_of_section(header), .values = {}, .line = line_});
    } catch (const ConfigError& error) {
      fail(error.what());
    }
    if (is_external(grids_.back().method)) {
      fail("[" + header +
           "] is a row of a grid, which 'fusegrid run' evaluates; leave it out of a merge job");
    }
  }

  void read_setting(const std::string& key, const std::string& value) {
    if (!kKeys.contains(key)) {
      const std::vector<std::string> known(kKeys.begin(), kKeys.end());
      fail("there is no key '" + key + "'" + alternatives(key, known) +
           ". Parameters of a method go below its [method] line");
    }
    auto& values = job_.settings[key];
    if (!values.empty() && key != "expert" && key != "keep") {
      fail("'" + key + "' takes a single value; remove all but one");
    }
    values.push_back({value, place()});
  }

  void read_parameter(const std::string& key, const std::string& value) {
    MethodGrid& grid = grids_.back();
    std::istringstream words(value);
    for (std::string word; words >> word;) {
      try {
        const Method& method = method_registry().at(grid.method);
        check_parameter_names(method, {{key, word}});
        method.canonical({{key, word}});
      } catch (const ConfigError& error) {
        fail(error.what());
      }
      grid.values[key].push_back({word, line_});
    }
  }

  std::filesystem::path file_;
  int line_ = 0;
  MergeJob job_;
  std::vector<MethodGrid> grids_;
};

}  // namespace

MergeJob read_merge_job(const std::filesystem::path& file) {
  std::istringstream in(read_text_file(file, "job file"));
  Parser parser(file);
  for (std::string line; std::getline(in, line);) {
    parser.read_line(line);
  }
  return parser.finish();
}

NativeJob native_job(const MergeSpec& spec) {
  const bool compat = spec.precision == MergePrecision::kCompat;
  const MergeMethod& call = spec.methods.front();
  if (!call.parts.empty()) {
    return {"", "its parameters differ by tensor"};
  }
  if (compat && spec.dtype != spec.model_dtype) {
    return {"", "it computes in another dtype than it writes"};
  }
  std::string text;
  const auto add = [&](const std::string& key, const std::string& value) {
    text += key + " = " + value + "\n";
  };
  if (spec.base) {
    add("base", spec.base->string());
  }
  for (const MergeExpert& expert : spec.experts) {
    add("expert", expert.name + "=" + expert.path.string());
  }
  add("out", spec.out.string());
  if (spec.dtype) {
    add("dtype", dtype_name(*spec.dtype));
  }
  if (compat) {
    add("precision", "compat");
  }
  if (spec.seed != 0) {
    add("seed", std::to_string(spec.seed));
  }
  text += "[" + call.name + "]\n";
  for (const auto& [key, value] : call.parameters) {
    add(key, value);
  }
  return {text, ""};
}

}  // namespace fusegrid
