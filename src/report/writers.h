// Boards as text. Pure functions: same boards, same bytes. Only the writers of costs look at what differs from
// run to run.
#pragma once

#include <string>
#include <vector>

#include "report/board.h"
#include "report/draws.h"
#include "store/records.h"

namespace fusegrid {

// The results of one folder.
struct ReportPart {
  std::string name;  // of the folder
  Records records;
  std::vector<Board> boards;
  std::vector<Board> shown;  // those that are not summed up as draws
};

// What stands beside the boards.
struct ReportFacts {
  std::string metrics_sha256 = {};  // digest of the published metrics; "" where nothing is published
  std::string unfinished = {};      // what is missing of the jobs' plans, in a sentence; "" where nothing is
  std::vector<Draws> draws = {};    // of boards that are not shown one by one
};

std::string markdown_report(const std::vector<Board>& boards, const ReportFacts& facts);
std::string latex_report(const std::vector<Board>& boards, const ReportFacts& facts);
std::string csv_report(const std::vector<Board>& boards);
std::string csv_settings(const std::vector<Board>& boards);
std::string csv_cells(const std::vector<ReportPart>& parts);
std::string markdown_costs(const std::vector<Board>& boards);
std::string csv_costs(const std::vector<Board>& boards);

}  // namespace fusegrid
