#include "coordinator/job_file.h"

#include <algorithm>
#include <functional>
#include <set>
#include <sstream>
#include <utility>

#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>

#include "coordinator/at_line.h"
#include "coordinator/expert_sets.h"
#include "coordinator/external_rows.h"
#include "coordinator/external_tasks.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "core/text_file.h"
#include "fusion/called_elsewhere.h"
#include "fusion/method.h"
#include "models/precision.h"
#include "tasks/shift.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;

constexpr int64_t kMostSeeds = 1000;

std::string without_comment(const std::string& line) {
  return trim(line.substr(0, line.find('#')));
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> found;
  for (std::string word; stream >> word;) {
    found.push_back(word);
  }
  return found;
}

// Builds a JobSpec line by line. Boost judges each line on its own, so that every message knows its line (and
// a section without keys, which Boost does not report, is still a method with its defaults).
class JobParser {
 public:
  explicit JobParser(const std::filesystem::path& file) { job_.file = file; }

  JobSpec parse(const std::string& text);

 private:
  [[noreturn]] void fail(int line, const std::string& message) const {
    throw ConfigError(job_.where(line) + message);
  }
  void read_line(const std::string& line);
  void open_section(const std::string& header);
  void open_task(const std::string& name);
  void check_row_name(const std::string& method);
  void read_external_line(const std::string& line);
  void check_complete(const MethodGrid& grid) const;
  void read_key(const std::string& key, const std::string& value);
  void read_parameter(const std::string& key, const std::vector<std::string>& values);
  void read_top_key(const std::string& key, const std::vector<std::string>& values);
  void add_axis(std::vector<JobValue>& axis, const std::string& key, const std::vector<std::string>& values);
  void add_seeds(const std::vector<std::string>& values);
  void add_seed(int64_t seed);
  void read_setting(const std::string& key, const std::string& value);
  int64_t whole(const std::string& key, const std::string& text, int64_t low, int64_t high) const;
  void check_device(const std::string& text) const;
  void finish();

  JobSpec job_;
  int line_ = 0;
  // What the line stands below: a [method], or a [task:NAME]; else it is one of the job's own keys.
  enum class Place { kTop, kMethod, kTask } place_ = Place::kTop;
  std::set<std::string> settings_;  // single-valued keys seen so far
};

JobSpec JobParser::parse(const std::string& text) {
  job_.text = text;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    ++line_;
    try {
      read_line(line);
    } catch (const ConfigError& error) {
      const std::string message = error.what();
      const std::string where = job_.where(line_);
      throw ConfigError(message.rfind(job_.file.string() + ":", 0) == 0 ? message : where + message);
    }
  }
  finish();
  return std::move(job_);
}

void JobParser::read_line(const std::string& line) {
  const std::string text = without_comment(line);
  if (text.empty()) {
    return;
  }
  const bool is_external_row = place_ == Place::kMethod && job_.methods.back().external;
  if (text.front() != '[' && (is_external_row || place_ == Place::kTask)) {
    return read_external_line(line);
  }
  if (text.front() == '[') {
    if (text.back() != ']') {
      fail(line_, "the section '" + text + "' must end with ']'");
    }
    open_section(trim(text.substr(1, text.size() - 2)));
    return;
  }
  std::istringstream stream(text);
  try {
    for (const auto& option : po::parse_config_file(stream, po::options_description(), true).options) {
      read_key(option.string_key, option.value.empty() ? "" : option.value.front());
    }
  } catch (const po::error&) {
    fail(line_, "'" + text + "' is neither 'key = value' nor '[method]'");
  }
}

void JobParser::open_section(const std::string& header) {
  if (const auto task = task_of_section(header)) {
    return open_task(*task);
  }
  place_ = Place::kMethod;
  const std::string method = method_of_section(header);
  for (const auto& grid : job_.methods) {
    if (grid.section == header) {
      fail(line_, "section [" + header + "] is already in line " + std::to_string(grid.line) +
                      "; put its keys there, or begin a second grid of the method with [" + method +
                      ":another]");
    }
  }
  MethodGrid grid{.section = header, .method = method, .values = {}, .line = line_};
  if (is_external(method)) {
    check_row_name(method);
    grid.external.emplace();
  }
  job_.methods.push_back(std::move(grid));
}

void JobParser::open_task(const std::string& name) {
  place_ = Place::kTask;
  if (const TaskSection* other = task_section(job_, name)) {
    fail(line_, "section [task:" + name + "] is already in line " + std::to_string(other->line) +
                    "; put its keys there, or give the task another name");
  }
  job_.external_tasks.push_back({.name = name, .line = line_});
}

// Boards call a row by its name alone.
void JobParser::check_row_name(const std::string& method) {
  const std::string title = method_registry().at(method).card.title;
  for (const auto& grid : job_.methods) {
    if (grid.external && method_registry().at(grid.method).card.title == title) {
      fail(line_, "the name '" + title + "' is already that of the row in line " + std::to_string(grid.line) +
                      "; give one of them another name");
    }
  }
}

void JobParser::read_external_line(const std::string& line) {
  const bool is_task = place_ == Place::kTask;
  const std::string section =
      is_task ? "task:" + job_.external_tasks.back().name : job_.methods.back().section;
  const std::string key = is_task ? read_task_key(line, job_.external_tasks.back())
                                  : read_external_key(line, section, *job_.methods.back().external);
  if (!settings_.insert("[" + section + "] " + key).second) {
    fail(line_, "'" + key + "' takes a single value; remove all but one");
  }
}

void JobParser::check_complete(const MethodGrid& grid) const {
  if (const std::string line = missing_line(grid.section, *grid.external); !line.empty()) {
    fail(grid.line, "[" + grid.section + "] needs a line '" + line + "' below it");
  }
}

void JobParser::read_key(const std::string& key, const std::string& value) {
  const auto values = words(value);
  if (values.empty()) {
    fail(line_, "'" + key + "' has no value");
  }
  if (place_ == Place::kTop) {
    read_top_key(key, values);
  } else {
    read_parameter(key, values);
  }
}

void JobParser::read_parameter(const std::string& key, const std::vector<std::string>& values) {
  auto& grid = job_.methods.back();
  const auto& method = method_registry().at(grid.method);
  check_parameter_names(method, {{key, values.front()}});
  for (const auto& value : values) {
    const std::string canonical = method.canonical({{key, value}});  // reads it: ConfigError where it cannot
    auto& known = grid.values[key];
    for (const auto& other : known) {
      if (method.canonical({{key, other.text}}) == canonical) {
        fail(line_, "value '" + value + "' of '" + key + "' is already in line " +
                        std::to_string(other.line) + "; remove one of the two");
      }
    }
    known.push_back({value, line_});
  }
}

// "random(3," "20)" is one value: "random(3,20)".
std::vector<std::string> with_whole_parentheses(const std::vector<std::string>& words) {
  std::vector<std::string> whole;
  bool open = false;
  for (const auto& word : words) {
    if (open) {
      whole.back() += word;
    } else {
      whole.push_back(word);
    }
    open = whole.back().find('(') != std::string::npos && whole.back().find(')') == std::string::npos;
  }
  return whole;
}

void JobParser::read_top_key(const std::string& key, const std::vector<std::string>& values) {
  if (key == "zoo") {
    return add_axis(job_.zoos, key, values);
  }
  if (key == "experts") {
    const auto sets = with_whole_parentheses(values);
    std::for_each(sets.begin(), sets.end(), check_experts_text);
    return add_axis(job_.experts, key, sets);
  }
  if (key == "task") {
    return add_axis(job_.tasks, key, values);
  }
  if (key == "shift") {
    std::for_each(values.begin(), values.end(), check_shift);
    return add_axis(job_.shifts, key, values);
  }
  if (key == "seed") {
    return add_seeds(values);
  }
  std::vector<std::string> known;
  for (const auto& entry : job_keys()) {
    known.push_back(entry.name);
  }
  if (std::find(known.begin(), known.end(), key) == known.end()) {
    fail(line_, "there is no key '" + key + "'" + alternatives(key, known) +
                    ". Parameters of a method go below its [method] line");
  }
  if (values.size() > 1 || !settings_.insert(key).second) {
    fail(line_, "'" + key + "' takes a single value; remove all but one");
  }
  read_setting(key, values.front());
}

void JobParser::add_axis(std::vector<JobValue>& axis, const std::string& key,
                         const std::vector<std::string>& values) {
  for (const auto& value : values) {
    for (const auto& other : axis) {
      if (other.text == value) {
        fail(line_, "'" + key + " = " + value + "' is already in line " + std::to_string(other.line) +
                        "; remove one of the two");
      }
    }
    axis.push_back({value, line_});
  }
}

void JobParser::add_seeds(const std::vector<std::string>& values) {
  for (const auto& value : values) {
    const auto dots = value.find("..");
    const int64_t first = whole("seed", value.substr(0, dots), 0, INT64_MAX);
    const int64_t last =
        dots == std::string::npos ? first : whole("seed", value.substr(dots + 2), 0, INT64_MAX);
    if (last < first) {
      fail(line_, "the range of seeds '" + value + "' must be written FIRST..LAST, but " + number_text(last) +
                      " comes before " + number_text(first));
    }
    if (last - first >= kMostSeeds) {
      fail(line_, "the range of seeds '" + value + "' must hold at most " + number_text(kMostSeeds) +
                      " seeds, but it holds " + std::to_string(static_cast<uint64_t>(last - first) + 1));
    }
    for (int64_t i = 0; i <= last - first; ++i) {  // no seed follows the largest number
      add_seed(first + i);
    }
  }
}

void JobParser::add_seed(int64_t seed) {
  if (std::find(job_.seeds.begin(), job_.seeds.end(), seed) != job_.seeds.end()) {
    fail(line_, "seed " + number_text(seed) + " is given twice; remove one of the two");
  }
  job_.seeds.push_back(seed);
}

void JobParser::read_setting(const std::string& key, const std::string& value) {
  if (key == "batch") {
    job_.batch = whole(key, value, 1, 65536);
  } else if (key == "test") {
    if (value != "all" && value != "chosen") {
      fail(line_, "'test' must be one of all, chosen, but it is '" + value + "'");
    }
    job_.tests_chosen_only = value == "chosen";
  } else if (key == "precision") {
    const auto& known = precision_names();
    if (std::find(known.begin(), known.end(), value) == known.end()) {
      fail(line_, "'precision' must be one of " + join(known, ", ") + ", but it is '" + value + "'");
    }
    job_.precision = value;
  } else if (key == "published") {
    job_.published = {value, line_};
  } else if (key == "validation") {
    job_.validation = whole(key, value, 1, INT64_MAX);
  } else if (key == "max_attempts") {
    job_.max_attempts = whole(key, value, 1, kHighestAttempts);
  } else if (key == "stall_timeout_s") {
    job_.stall_timeout_s = whole(key, value, 1, 86400);
  } else if (key == "shards") {
    job_.shards = whole(key, value, 1, 1024);
    job_.shards_line = line_;
  } else if (key == "threads") {
    job_.threads = whole(key, value, 1, kHighestThreads);
  } else if (key == "memory_limit_gb") {
    job_.memory_limit_gb = parse_double(value, "'memory_limit_gb'");
    constexpr double kMost = 1 << 20;  // a PiB: its bytes are counted in 64 bits
    if (!(*job_.memory_limit_gb > 0 && *job_.memory_limit_gb <= kMost)) {
      fail(line_,
           "'memory_limit_gb' must be above 0 and at most " + number_text(kMost) + ", but it is " + value);
    }
  } else {
    FUSEGRID_ASSERT(key == "device", key);
    check_device(value);
    job_.device = value;
  }
}

int64_t JobParser::whole(const std::string& key, const std::string& text, int64_t low, int64_t high) const {
  const int64_t value = parse_int(text, "'" + key + "'");
  if (value < low || value > high) {
    fail(line_, "'" + key + "' must lie in [" + number_text(low) + ", " + number_text(high) +
                    "], but it is " + text);
  }
  return value;
}

void JobParser::check_device(const std::string& text) const {
  if (text != "auto" && text != "cpu" && text != "cuda") {
    fail(line_, "'device' must be one of auto, cpu, cuda, but it is '" + text + "'");
  }
}

void JobParser::finish() {
  const std::string file = job_.file.string();
  if (job_.zoos.empty()) {
    throw ConfigError(file + ": a job needs a line 'zoo = NAME' above its first [method] section");
  }
  if (job_.methods.empty()) {
    throw ConfigError(file + ": a job needs at least one [method] section; known methods: " +
                      join(method_registry().names(), ", "));
  }
  for (const auto& grid : job_.methods) {
    if (grid.external) {
      check_complete(grid);
    }
  }
  for (auto& section : job_.external_tasks) {
    at_line(job_, section.line, [&] { complete_task(section); });
  }
  for (const auto& task : job_.tasks) {
    if (task.text == "all" && job_.tasks.size() > 1) {
      fail(task.line, "'task = all' stands alone; remove the other tasks");
    }
  }
  if (job_.experts.empty()) {
    job_.experts.push_back({"all", 0});
  }
  if (job_.seeds.empty()) {
    job_.seeds.push_back(0);
  }
  if (job_.shifts.empty()) {
    job_.shifts.push_back({"clean", 0});
  }
}

}  // namespace

std::vector<ParamText> MethodGrid::combinations() const {
  std::vector<ParamText> all = {{}};
  for (const auto& [name, options] : values) {
    std::vector<ParamText> longer;
    for (const auto& base : all) {
      for (const auto& option : options) {
        longer.push_back(base);
        longer.back()[name] = option.text;
      }
    }
    all = std::move(longer);
  }
  return all;
}

int64_t JobSpec::memory_limit_bytes() const {
  constexpr double kBytesPerGb = 1024.0 * 1024 * 1024;
  return static_cast<int64_t>(memory_limit_gb.value_or(0) * kBytesPerGb);
}

std::optional<std::string> task_of_section(const std::string& header) {
  const size_t colon = header.find(':');
  if (header.substr(0, colon) != "task") {
    return std::nullopt;
  }
  const std::string name = colon == std::string::npos ? "" : header.substr(colon + 1);
  check_task_name(name, "the name of the task in [task:NAME]");
  return name;
}

std::string method_of_section(const std::string& header) {
  const size_t colon = header.find(':');
  const std::string method = header.substr(0, colon);
  if (method == "external" || method == "folder") {
    check_name(colon == std::string::npos ? "" : header.substr(colon + 1),
               "the name of the row in [" + method + ":NAME]");
    return header;
  }
  method_called(method);
  if (colon != std::string::npos) {
    check_name(header.substr(colon + 1), "the label behind ':' in [" + header + "]");
  }
  return method;
}

double MethodGrid::num_combinations() const {
  double product = 1;
  for (const auto& [name, options] : values) {
    product *= static_cast<double>(options.size());
  }
  return product;
}

std::string JobSpec::where(int line) const {
  return file.string() + ":" + (line > 0 ? std::to_string(line) + ":" : "") + " ";
}

JobSpec read_job_file(const std::filesystem::path& file) {
  std::error_code unreadable;
  if (!std::filesystem::exists(file, unreadable) && !unreadable) {
    throw ConfigError("there is no job file '" + file.string() +
                      "'; 'fusegrid list jobs' shows those at hand");
  }
  return parse_job(read_text_file(file, "job file"), file);
}

JobSpec parse_job(const std::string& text, const std::filesystem::path& file) {
  return JobParser(file).parse(text);
}

const std::vector<JobKey>& job_keys() {
  static const std::vector<JobKey> keys = {
      {"zoo", "names or folders", "(needed)", "models and tasks; several make an axis of the grid"},
      {"experts", "all, N, N..M, task+task, random(K, R), nested(K, R)", "all",
       "which experts are merged: N means the first N in the zoo's order; several make an axis"},
      {"seed", "whole numbers, FIRST..LAST", "0",
       "replicate of the zoo, which must have been trained with it, and key of a method's random numbers; "
       "several make an axis"},
      {"task", "all, or names", "the tasks of the merged experts", "what the merged model is tested on"},
      {"shift", "clean, all_labels, or NAME-SEVERITY", "clean",
       "what is done to the test inputs, images or texts, or which classes are asked for; several make an "
       "axis"},
      {"test", "all, chosen", "all",
       "which settings of a method are tested: all, or the one that validation chose, so that a sweep is "
       "tested once"},
      {"published", "a file", "none",
       "table of published results, beside the job file: what `fusegrid report --published` compares with"},
      {"validation", "at least 1", "all examples",
       "validation examples of a task at most: the first of its split"},
      {"batch", "[1, 65536]", "256", "examples per forward pass of an evaluation"},
      {"precision", join(precision_names(), ", "), "fp32",
       "of evaluation, statistics and adaptation; merging is always float32. A results folder has one "
       "precision"},
      {"max_attempts", "[1, " + number_text(kHighestAttempts) + "]", "2",
       "attempts of a cell whose attempt crashed, hung or threw"},
      {"stall_timeout_s", "[1, 86400]", "120", "seconds without progress until an executor is killed"},
      {"memory_limit_gb", "above 0", "none", "address space of an executor in GiB, on CPUs"},
      {"shards", "[1, 1024]", "1",
       "executors that make each merge together (a team); the numbers are the same for any"},
      {"threads", "[1, " + number_text(kHighestThreads) + "]", "1",
       "CPU threads of an executor (bits may depend on it)"},
      {"device", "auto, cpu, cuda", "auto", "where executors compute"},
  };
  return keys;
}

}  // namespace fusegrid
