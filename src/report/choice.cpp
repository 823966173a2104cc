#include "report/choice.h"

#include <vector>

#include "report/settings.h"

namespace fusegrid {

std::set<std::string> chosen_untested_cells(const Records& records) {
  std::set<std::string> names;
  for (const BoardCells& board : group_cells(records)) {
    for (const auto& [method, by_parameters] : board.methods) {
      std::vector<Setting> settings;
      std::vector<const SettingCells*> cells;
      for (const auto& [parameters, of_setting] : by_parameters) {
        settings.push_back(summarise(board, records, method, parameters, of_setting));
        cells.push_back(&of_setting);
      }
      const size_t chosen = choose(board.score, settings);
      if (settings[chosen].untested) {
        for (const Result* result : *cells[chosen]) {
          if (result != nullptr) {
            names.insert(result->name);
          }
        }
      }
    }
  }
  return names;
}

}  // namespace fusegrid
