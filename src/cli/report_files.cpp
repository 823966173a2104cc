#include "cli/report_files.h"

#include <system_error>

#include "core/files.h"
#include "report/leaderboard.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

// What report.html carries: of an installed program in share/fusegrid/page, else where ./fusegrid setup puts it.
std::filesystem::path page_libraries() {
  std::error_code unreadable;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unreadable);
  const std::filesystem::path installed = program.parent_path().parent_path() / "share/fusegrid/page";
  return is_there(installed) ? installed : cache_folder() / FUSEGRID_PAGE_LIBRARIES;
}

}  // namespace

void report_results(const std::vector<std::filesystem::path>& results, const std::filesystem::path& out,
                    Invocation& in) {
  if (!write_report(results, out, page_libraries(), in.out)) {
    in.err << "fusegrid: no report.html is written, since its libraries are not in "
           << page_libraries().string()
           << ": './fusegrid setup' downloads them, then 'fusegrid report' writes it\n";
  }
}

}  // namespace fusegrid
