// The plots of a report: data as CSV text, and how it is drawn as a specification of Vega-Lite that holds this text.
// Pure functions of what the tables are made of; same input, same bytes.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/board.h"
#include "report/robustness.h"
#include "report/timeline.h"

namespace fusegrid {

struct Plot {
  std::string id;           // unique among those of a report; a name of files
  std::string title;        // what it shows, in a few words
  std::string description;  // in a sentence, for whoever cannot see it
  std::string csv;          // with a header
  nlohmann::json spec;      // complete but for colours of the theme and the width, which is that of its place
  int least_width = 0;      // pixels: narrower ones cannot be read
};

// `id` begins the names of a board's plots.
std::vector<Plot> board_plots(const Board& board,
                              const std::string& id);  // heat map, stored numbers, unseen tasks
std::vector<Plot> sensitivity_plots(const Board& board, const std::string& id);
std::vector<Plot> path_plots(const Board& board, const std::string& id);
std::vector<Plot> cost_plots(const Board& board,
                             const std::string& id);  // score against what differs from run to run
Plot scaling_plot(const Scaling& scaling, const std::string& id);
Plot size_plot(const SizeSeries& series, const std::string& id);
std::vector<Plot> robustness_plots(const Robustness& robustness, const std::string& id);
Plot timeline_plot(const Timeline& timeline, const std::string& id);

// Configurations of Vega-Lite by name: "light", "dark".
nlohmann::json plot_themes();

}  // namespace fusegrid
