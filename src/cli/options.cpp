#include "cli/options.h"

#include <algorithm>
#include <map>

#include <boost/program_options/parsers.hpp>
#include <boost/program_options/positional_options.hpp>
#include <boost/program_options/value_semantic.hpp>

#include "cli/as_called.h"
#include "cli/print.h"
#include "comm/transport.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {

namespace po = boost::program_options;

Options::Options(std::string name, std::string doc, std::vector<std::string> examples)
    : name_(std::move(name)), doc_(std::move(doc)), examples_(std::move(examples)) {
  add()("help,h", "print this and exit");
}

Options& Options::argument(const std::string& name, const std::string& doc,
                           const std::vector<std::string>& choices) {
  arguments_.push_back({name, doc, choices});
  return *this;
}

Options& Options::arguments(const std::string& name, const std::string& doc) {
  arguments_.push_back({name, doc, {}, true});
  return *this;
}

void Options::fail(const std::string& message) const {
  throw UsageError(message + "; 'fusegrid " + name_ + " --help' tells more");
}

bool Options::parse(Invocation& in) {
  po::options_description all;
  all.add(options_);
  po::positional_options_description positions;
  for (const auto& argument : arguments_) {
    if (argument.several) {
      all.add_options()(argument.name.c_str(), po::value<std::vector<std::string>>());
    } else {
      all.add_options()(argument.name.c_str(), po::value<std::string>());
    }
    positions.add(argument.name.c_str(), argument.several ? -1 : 1);
  }
  if (std::any_of(in.args.begin(), in.args.end(),
                  [](const std::string& arg) { return arg == "--help" || arg == "-h"; })) {
    print_help(in.out);
    return false;
  }
  try {
    // no guessing: an abbreviated option would change its meaning with the next release
    const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    po::store(po::command_line_parser(in.args).options(all).positional(positions).style(style).run(),
              values_);
    po::notify(values_);
  } catch (const po::too_many_positional_options_error&) {
    fail("'fusegrid " + name_ + "' takes " + std::to_string(arguments_.size()) +
         " argument(s), more were given");
  } catch (const po::error& error) {
    fail(error.what());
  }
  for (const auto& argument : arguments_) {
    if (!has(argument.name)) {
      fail("'fusegrid " + name_ + "' needs " + argument.name + " (" + argument.doc + ")");
    }
    const auto& choices = argument.choices;
    if (choices.empty()) {
      continue;
    }
    const auto value = this->argument(argument.name);
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      const std::string hint = nearest(value, choices);
      fail(argument.name + " must be one of " + join(choices, ", ") + ", but it is '" + value + "'" +
           (hint.empty() ? "" : " (did you mean '" + hint + "'?)"));
    }
  }
  return true;
}

int whole_number(const Options& options, const std::string& name, int64_t highest, int64_t fallback) {
  const int64_t value = options.get_or<int>(name, static_cast<int>(fallback));
  if (value < 1 || value > highest) {
    throw UsageError("--" + name + " must lie in [1, " + std::to_string(highest) + "], but it is " +
                     std::to_string(value));
  }
  return static_cast<int>(value);
}

std::string device_kind(const Options& options, const std::string& fallback) {
  auto kind = options.get_or<std::string>("device", fallback);
  if (kind != "auto" && kind != "cpu" && kind != "cuda") {
    throw UsageError("--device must be auto, cpu or cuda, but it is '" + kind + "'");
  }
  return kind;
}

at::ScalarType float_dtype(const std::string& text) {
  static const std::map<std::string, at::ScalarType> names{
      {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}, {"float64", at::kDouble},
      {"bf16", at::kBFloat16},     {"fp16", at::kHalf},    {"fp32", at::kFloat},    {"fp64", at::kDouble}};
  const auto it = names.find(text);
  if (it == names.end()) {
    throw ConfigError("--dtype must be bfloat16, float16, float32 or float64, but it is '" + text + "'");
  }
  return it->second;
}

void Options::print_help(std::ostream& out) const {
  out << as_called("Usage: fusegrid " + name_);
  for (const auto& argument : arguments_) {
    out << " " << argument.name << (argument.several ? "..." : "");
  }
  out << " [options]\n\n" << wrap(doc_, 90) << "\n";
  TextTable table({"", ""});
  for (const auto& argument : arguments_) {
    table.add({"  " + argument.name, argument.doc});
  }
  if (!arguments_.empty()) {
    out << "Arguments:\n" << table.text(false) << "\n";
  }
  out << options_ << "\n";
  if (!examples_.empty()) {
    out << "Examples:\n";
    for (const auto& example : examples_) {
      out << "  " << as_called(example) << "\n";
    }
  }
}

void print_notes(Invocation& in, const Options& options, const std::vector<std::string>& notes) {
  if ((in.transport == nullptr || in.transport->rank() == 0) && !options.has("quiet")) {
    for (const std::string& note : notes) {
      in.err << "fusegrid: note: " << note << "\n";
    }
  }
}

}  // namespace fusegrid
