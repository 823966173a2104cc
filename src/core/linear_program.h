#pragma once

#include <optional>
#include <vector>

namespace fusegrid {

// x >= 0 with sum 1 and rows x >= bounds that makes objective x largest; nullopt where there is none. Of several the
// one that Bland's rule ends at, the same on every system. rows: each as long as the objective.
//
// Source: Bland, "New Finite Pivoting Rules for the Simplex Method", Mathematics of Operations Research 1977.
std::optional<std::vector<double>> maximise_on_simplex(const std::vector<double>& objective,
                                                       const std::vector<std::vector<double>>& rows,
                                                       const std::vector<double>& bounds);

}  // namespace fusegrid
