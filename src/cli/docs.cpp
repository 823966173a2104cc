// fusegrid docs: writes the generated pages of docs/.

#include <filesystem>
#include <fstream>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/reference.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (!stream) {
    throw IoError("cannot write '" + file.string() + "'; check the folder's permission and free space");
  }
}

}  // namespace

ExitCode write_docs(Invocation& in) {
  Options options(
      "docs", "Writes methods.md, mergekit.md and tasks.md, generated from the registries, into a folder.",
      {"fusegrid docs docs"});
  options.argument("DIR", "the folder");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const std::filesystem::path folder = options.argument("DIR");
  std::filesystem::create_directories(folder);
  write(folder / "methods.md", methods_page());
  write(folder / "mergekit.md", mergekit_page());
  write(folder / "tasks.md", tasks_page());
  return ExitCode::kOk;
}

}  // namespace fusegrid
