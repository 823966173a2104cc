// Scenes of one to four emoji: captions that are found or written, and questions. The examples are in composed.h5,
// which is not committed: tools/make_composed_pack.py makes it.

#include <string>

#include "tasks/suite.h"

namespace fusegrid::suites::composed6 {
namespace {

constexpr const char* kByParts = "by the set of parts, wherever they stand";

TaskCard question(const std::string& name, const std::string& title, int64_t classes,
                  const std::string& content) {
  return {name, title, "question about a picture", classes, content, kByParts};
}

const bool registered = [] {
  suite_registry().add(
      "composed6",
      {"composed6",
       "composed.h5",
       "tools/make_composed_pack.py",
       {{"pairs", "Scenes and captions", "retrieval", 0, "a scene and its caption", kByParts},
        {"caption", "Captions of scenes", "picture to text", 0, "what is at which place of a scene",
         kByParts},
        question("colour", "Colour of a thing", 6, "which colour the thing at a place has"),
        question("count", "Number of things", 3, "whether none, one or more things of a kind are there"),
        question("kind", "Kind of a thing", 6, "of which kind the thing at a place is"),
        question("position", "Place of a thing", 4, "at which place a thing is that is named")}});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::composed6
