// Letters of many fonts in four styles of drawing: a grid of four groups of letters and four styles. The examples are
// in glyphs.h5, which is not committed: tools/make_glyphs_pack.py makes it.

#include "tasks/suite.h"

namespace fusegrid::suites::glyphs16 {
namespace {

constexpr const char* kSplit = "by design of the font";

TaskCard cell(const std::string& style, const std::string& row) {
  std::string letters;
  for (const char letter : row) {
    letters += (letters.empty() ? "" : ", ") + std::string(1, static_cast<char>(letter - 'a' + 'A'));
  }
  return {style + "_" + row,    "Letters " + letters + ", " + style,
          "image generation",   12,
          "capitals, " + style, kSplit};
}

// A cell of each row and style first: these have experts.
std::vector<TaskCard> cards() {
  const std::vector<std::string> styles{"solid", "outline", "striped", "inverse"};
  const std::vector<std::string> rows{"aeg", "hkm", "npr", "sxz"};
  std::vector<TaskCard> all;
  for (size_t shift = 0; shift < rows.size(); ++shift) {
    for (size_t i = 0; i < styles.size(); ++i) {
      all.push_back(cell(styles[i], rows[(i + shift) % rows.size()]));
    }
  }
  return all;
}

const bool registered = [] {
  suite_registry().add("glyphs16", {"glyphs16", "glyphs.h5", "tools/make_glyphs_pack.py", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::glyphs16
