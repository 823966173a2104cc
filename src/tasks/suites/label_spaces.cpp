// Classifiers of texts whose label sets differ: a guard of two classes, and others of 4 to 24 over definitions. The
// examples are in label_spaces.h5, which is not committed: tools/make_label_spaces_pack.py makes it of data/text.h5.

#include <algorithm>

#include "tasks/text_tasks.h"

namespace fusegrid::suites::label_spaces {
namespace {

std::vector<TaskCard> cards() {
  const std::vector<TaskCard>& texts = learnable_text_tasks();
  const auto text = [&](const std::string& name) {
    return *std::find_if(texts.begin(), texts.end(), [&](const TaskCard& card) { return card.name == name; });
  };
  TaskCard guard = text("artifact13");
  guard.name = "guard2";
  guard.title = "Weapons and drugs (WordNet)";
  guard.classes = 2;
  return {guard, text("artifact13"), text("pos4"), text("noun24")};
}

const bool registered = [] {
  suite_registry().add("label_spaces",
                       {"label_spaces", "label_spaces.h5",
                        "tools/make_label_spaces_pack.py of data/text.h5; licences in data/NOTICE", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::label_spaces
