// Boards as text. Pure functions: same boards, same bytes.
#pragma once

#include <string>
#include <vector>

#include "report/board.h"

namespace fusegrid {

// What a report says about its source.
struct ReportSource {
  std::string folder;          // as the user named it
  std::string metrics_sha256;  // "" where nothing is published
};

std::string markdown_report(const std::vector<Board>& boards, const ReportSource& source);
std::string latex_report(const std::vector<Board>& boards, const ReportSource& source);
std::string csv_report(const std::vector<Board>& boards);
std::string csv_settings(const std::vector<Board>& boards);

}  // namespace fusegrid
