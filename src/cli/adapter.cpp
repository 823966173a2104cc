// fusegrid adapter: PEFT adapters out of whole models, and out of adapters.

#include <map>

#include "cli/adapter_options.h"
#include "cli/as_called.h"
#include "cli/commands.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {

ExitCode manage_adapters(Invocation& in) {
  const std::string name = in.args.empty() ? "" : in.args.front();
  const std::map<std::string, ExitCode (*)(Invocation&)> commands{{"extract", extract_adapter_command},
                                                                  {"merge", merge_adapters_command}};
  if (const auto command = commands.find(name); command != commands.end()) {
    in.args.erase(in.args.begin());
    return command->second(in);
  }
  if (name == "--help" || name == "-h") {
    in.out << as_called("Usage: fusegrid adapter COMMAND [options]\n\nCommands:\n")
           << "  extract  write the adapter that comes nearest to a fine-tuned model\n"
           << "  merge    merge adapters of one base into an adapter\n";
    return ExitCode::kOk;
  }
  const std::vector<std::string> known{"extract", "merge"};
  if (name.empty()) {
    throw UsageError("'fusegrid adapter' needs one of the commands " + join(known, ", "));
  }
  throw UsageError("there is no command 'fusegrid adapter " + name + "'" + alternatives(name, known));
}

}  // namespace fusegrid
