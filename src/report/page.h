// A report as one page of HTML that needs nothing but itself.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "report/writers.h"

namespace fusegrid {

// The libraries that the page carries: tables that sort and filter, plots (docs/design/report_page.md).
struct PageLibraries {
  std::string tables_js;
  std::string tables_css;
  std::string plots_js;
  std::string licences;
};
// As tools/page_libraries wrote them into the folder. IoError where one cannot be read.
PageLibraries read_page_libraries(const std::filesystem::path& folder);

// Everything above the line "What follows differs from run to run." has the same bytes for the same results, but for
// kinds of devices; what is timed stands below it. Texts of users are escaped.
std::string html_page(const std::vector<ReportPart>& parts, const ReportFacts& facts,
                      const PageLibraries& libraries);

// Text in which no character of HTML acts, in an attribute, either.
std::string escape_html(const std::string& text);

}  // namespace fusegrid
