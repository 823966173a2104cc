// Results beside published ones, as text. Pure functions: same comparison, same bytes.
#pragma once

#include <string>
#include <vector>

#include "report/published.h"

namespace fusegrid {

std::string markdown_published(const std::vector<ComparedBoard>& boards);
std::string latex_published(const std::vector<ComparedBoard>& boards);
// One row for each number, in full precision.
std::string csv_published(const std::vector<ComparedBoard>& boards);

}  // namespace fusegrid
