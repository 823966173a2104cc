// The cross-lingual grid: three tasks in seven languages, each cell a task of its own. The examples are in
// data/text_grid.h5, made by tools/make_grid_pack.py.

#include <array>
#include <string>

#include "tasks/suite.h"

namespace fusegrid::suites::text_grid {
namespace {

constexpr const char* kByConcept = "by concept, in all languages";

// The rows of the grid; names, titles and contents are those of a cell without its language.
const std::array<TaskCard, 3>& rows() {
  static const std::array<TaskCard, 3> all{{
      {"emoji", "Groups of emoji", "text classification", 9, "the name and keywords of an emoji", kByConcept},
      {"type", "Types of names", "text classification", 6,
       "the name of a language, territory, currency, emoji or subdivision, or a keyword", kByConcept},
      {"continent", "Continents of places", "text classification", 4, "the name of a subdivision",
       "by the first four letters of the English name, in all languages"},
  }};
  return all;
}

struct Language {
  const char* code;
  const char* name;
};

constexpr std::array<Language, 7> kLanguages{{{"en", "English"},
                                              {"de", "German"},
                                              {"fr", "French"},
                                              {"es", "Spanish"},
                                              {"it", "Italian"},
                                              {"cs", "Czech"},
                                              {"sv", "Swedish"}}};

// Both the row and the language change from cell to cell, so that a few first cells are of all rows and of many
// languages. The numbers of rows and languages have no common divisor: every cell is met once.
std::vector<TaskCard> cells() {
  std::vector<TaskCard> all;
  for (size_t i = 0; i < rows().size() * kLanguages.size(); ++i) {
    TaskCard card = rows()[i % rows().size()];
    const Language& language = kLanguages[i % kLanguages.size()];
    card.name += std::string("_") + language.code;
    card.title += std::string(", ") + language.name + " (CLDR)";
    card.content += std::string(", in ") + language.name;
    all.push_back(std::move(card));
  }
  return all;
}

const bool registered = [] {
  suite_registry().add("text_grid", {"text_grid", "text_grid.h5",
                                     "tools/make_grid_pack.py; licences in data/NOTICE", cells()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::text_grid
