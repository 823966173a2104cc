#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/cell.h"
#include "core/result.h"
#include "models/evaluation.h"

namespace fusegrid {

// Why a cell's answers must not be trusted, or nothing. recorded_score: what the zoo says of the task's expert on the
// split, where it says anything.
std::optional<std::string> distrust(const Cell& cell, const std::string& split, const Answers& answers,
                                    std::optional<double> recorded_score);

// Writes a cell's answers, by split, into its result, and whether they can be trusted. recorded_scores: of the zoo's
// replicate ("<task>/<split>").
void record(const Cell& cell, const std::map<std::string, Answers>& answers,
            const std::map<std::string, double>& recorded_scores, Result& result);

}  // namespace fusegrid
