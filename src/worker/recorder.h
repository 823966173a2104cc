#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/cell.h"
#include "core/result.h"
#include "tasks/kind.h"

namespace fusegrid {

// Why a cell's answers must not be trusted, or nothing. recorded_scores: what the zoo says of the task's expert on the
// split, by metric.
std::optional<std::string> distrust(const Cell& cell, const std::string& split, const Answers& answers,
                                    const std::map<std::string, double>& recorded_scores);

// Writes a cell's answers, by split ("val", "test", or one of them), into its result, and whether they can be
// trusted. recorded_scores: of the task's owner, as Replicate::scores has them but without its name
// ("<task>/<split>/<metric>"); none where the answers are of other examples, or of passes in bfloat16.
void record(const Cell& cell, const std::map<std::string, Answers>& answers,
            const std::map<std::string, double>& recorded_scores, Result& result);

}  // namespace fusegrid
