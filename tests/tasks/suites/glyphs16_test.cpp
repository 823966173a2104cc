#include <set>

#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

// Its pack is not committed; tests/tools/glyphs_pack_test.py has its tasks.
TEST(Glyphs16, HasACellOfEachRowAndStyleFirst) {
  const Suite& suite = suite_registry().at("glyphs16");
  ASSERT_EQ(suite.tasks.size(), 16U);
  std::set<std::string> cells, rows, styles;
  for (size_t i = 0; i < suite.tasks.size(); ++i) {
    const std::string& name = suite.tasks[i].name;
    EXPECT_TRUE(cells.insert(name).second) << name;
    if (i < 4) {
      styles.insert(name.substr(0, name.find('_')));
      rows.insert(name.substr(name.find('_') + 1));
    }
  }
  EXPECT_EQ(rows, (std::set<std::string>{"aeg", "hkm", "npr", "sxz"}));
  EXPECT_EQ(styles.size(), 4U);
  EXPECT_EQ(suite.tasks[0].title, "Letters A, E, G, solid");
}

}  // namespace
}  // namespace fusegrid
