// Texts, and what sacreBLEU, rouge-score and SciPy say of them: tests/golden/make_text_overlap.py.
#pragma once

#include <fstream>

#include <nlohmann/json.hpp>

#include "support/source_folder.h"

namespace fusegrid {

inline const nlohmann::json& text_overlap_golden() {
  static const auto golden =
      nlohmann::json::parse(std::ifstream(source_folder() / "tests/golden/text_overlap.json"));
  return golden;
}

}  // namespace fusegrid
