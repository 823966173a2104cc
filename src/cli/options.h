// Command lines of subcommands: Boost.Program_options with positional arguments that are named in messages.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <c10/core/ScalarType.h>

#include "cli/program.h"

namespace fusegrid {

class Options {
 public:
  // `name`: "run"; `doc`: what it does, in sentences; `examples`: command lines, one a line
  Options(std::string name, std::string doc, std::vector<std::string> examples);

  // A positional argument, in order of the calls; `choices` are checked if there are any.
  Options& argument(const std::string& name, const std::string& doc,
                    const std::vector<std::string>& choices = {});
  // As the last one: it may be given several times, and must be once.
  Options& arguments(const std::string& name, const std::string& doc);
  // Options follow as with Boost: options.add()("quiet", "...").
  boost::program_options::options_description_easy_init add() { return options_.add_options(); }

  // Reads the arguments. False where --help was asked for and printed. UsageError where they cannot be read,
  // one is missing or one is too many.
  bool parse(Invocation& in);

  bool has(const std::string& option) const { return values_.count(option) > 0; }
  std::string argument(const std::string& name) const { return values_.at(name).as<std::string>(); }
  std::vector<std::string> arguments(const std::string& name) const {
    return values_.at(name).as<std::vector<std::string>>();
  }
  template <typename T>
  T get(const std::string& option) const {
    return values_.at(option).as<T>();
  }
  template <typename T>
  T get_or(const std::string& option, T fallback) const {
    return has(option) ? get<T>(option) : fallback;
  }
  void print_help(std::ostream& out) const;

 private:
  struct Argument {
    std::string name;
    std::string doc;
    std::vector<std::string> choices;
    bool several = false;
  };
  [[noreturn]] void fail(const std::string& message) const;

  std::string name_;
  std::string doc_;
  std::vector<std::string> examples_;
  std::vector<Argument> arguments_;
  boost::program_options::options_description options_{"Options"};
  boost::program_options::variables_map values_;
};

// Options that several commands have. UsageError where the value makes no sense; `fallback` where it is not given.
int whole_number(const Options& options, const std::string& name, int64_t highest,
                 int64_t fallback);                                            // from 1 on
std::string device_kind(const Options& options, const std::string& fallback);  // auto, cpu or cuda

// What a user should know of a command that went well, on stderr; nothing with --quiet, and from rank 0 alone.
void print_notes(Invocation& in, const Options& options, const std::vector<std::string>& notes);

// The text of --dtype, "float16" or "fp16". ConfigError.
at::ScalarType float_dtype(const std::string& text);

}  // namespace fusegrid
