// What plots are made of: parts of specifications of Vega-Lite.
#pragma once

#include <string>
#include <vector>

#include "report/plots.h"

namespace fusegrid {

// A plot whose specification has its description, data and height, but no marks yet.
//   numbers, words  the columns of `csv`
Plot begin_plot(std::string id, std::string title, std::string description, std::string csv,
                const std::vector<std::string>& numbers, const std::vector<std::string>& words, int height);

nlohmann::json field(const std::string& name, const std::string& type, const std::string& title);

// Of the column "score", and what a tooltip says of it or of the column `name`.
nlohmann::json score_axis(const Score& score);
nlohmann::json score_tip(const Score& score, const std::string& name = "score",
                         const std::string& title = "");
std::string score_axis_title(const Score& score);  // "Accuracy, higher is better"

// Titles of the rows' methods; those that two rows have are followed by the name.
std::vector<std::string> unique_titles(const Board& board);

}  // namespace fusegrid
