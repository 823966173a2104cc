// What the commands `fusegrid adapter ...` share: options, and how results are told.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/program_options/value_semantic.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/print.h"
#include "merge/adapter/extraction.h"
#include "merge/adapter/low_rank.h"

namespace fusegrid {

ExitCode extract_adapter_command(Invocation& in);
ExitCode merge_adapters_command(Invocation& in);

boost::program_options::typed_value<std::string>* text_value(const char* name);

// --rank (whose help is `rank`), --energy and --alpha.
void add_cut_options(Options& options, const std::string& rank);
adapters::RankRule rule_of(const Options& options);
std::optional<double> alpha_of(const Options& options);  // UsageError where it is not above 0

// --base-name, --device, --threads, --follow-links, --quiet
void add_common_adapter_options(Options& options);
at::Device adapter_device(const Options& options);
int adapter_threads(const Options& options);
// Prints the share that is done every few seconds.
std::function<void(double share)> progress_printer(Invocation& in, const Options& options);

// The text of an option that the command needs; UsageError, with what it means, where it is not given.
std::string needed_text(const Options& options, const std::string& command, const std::string& option,
                        const std::string& meaning);

std::string percent(double share);
// module, matrix, rank and what is missing of its change
std::string module_table(const std::vector<adapters::ExtractedModule>& modules);
// Of the program, for the record of an adapter.
nlohmann::json program_record();

}  // namespace fusegrid
