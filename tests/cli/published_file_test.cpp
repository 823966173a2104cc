#include "cli/published_file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/job_file.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

class PublishedFileOfAJob : public testing::Test {
 protected:
  // Rows of a table about the tasks `bars` (10 test examples) and `rows`.
  std::optional<PublishedFile> read(const std::string& rows, const std::string& named = "table.csv") const {
    write_text(folder_ / "table.csv",
               "# T\nkind,zoo,row,cells,tolerance,bars,rows,average\nmetric,,,,,accuracy,accuracy,\n"
               "examples,,,,,10,,\n" +
                   rows);
    const std::string job = "zoo = tiny\npublished = " + named + "\n[ties]\n";
    return read_published_file(parse_job(job, folder_ / "job.cfg"), packs_);
  }
  std::string refusal(const std::string& rows, const std::string& named = "table.csv") const {
    try {
      read(rows, named);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "read";
  }
  void give(const std::string& zoo, const std::string& task, int64_t examples) {
    packs_[zoo][task].examples = {{"train", 5}, {"val", 5}, {"test", examples}};
  }
  void SetUp() override {
    give("tiny", "bars", 10);
    give("tiny", "rows", 20);
  }

  const TemporaryFolder folder_;
  std::map<std::string, PackContents> packs_;
};

TEST_F(PublishedFileOfAJob, is_read_from_beside_the_job) {
  const auto file = read("percent,,A,ties{scale=0.6},1,50,50,50\npercent,,B,,1,50,50,50\n");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->name, "table.csv");
  EXPECT_THAT(file->text, HasSubstr("ties{scale=0.6}"));
  EXPECT_EQ(file->table.rows.size(), 2U);
  EXPECT_FALSE(read_published_file(parse_job("zoo = tiny\n[ties]\n", "job.cfg"), packs_));
}

TEST_F(PublishedFileOfAJob, must_be_there_and_a_table) {
  EXPECT_THAT(refusal("percent,,A,ties,1,50,50,50\n", "other.csv"),
              testing::AllOf(HasSubstr("job.cfg:2: "), HasSubstr("other.csv")));
  EXPECT_THAT(refusal("percent,,A,ties,1,50\n"), HasSubstr("table.csv:5: a line must have 8 fields"));
}

TEST_F(PublishedFileOfAJob, calls_cells_by_their_names) {
  const auto refused = [&](const std::string& cells) {
    return refusal("percent,,A," + cells + ",1,50,50,50\n");
  };
  EXPECT_THAT(refused("ties{scale=0.30}"),
              HasSubstr("table.csv:5: 'cells' must be as cells are named, 'ties'"));
  EXPECT_THAT(refused("\"ties{scale=0.6,density=0.1}\""), HasSubstr("'ties{density=0.1,scale=0.6}'"));
  EXPECT_THAT(refused("tiess"),
              HasSubstr("table.csv:5: there is no fusion method 'tiess'; did you mean 'ties'"));
  EXPECT_THAT(refused("ties{scal=1}"), HasSubstr("has no parameter 'scal'"));
  EXPECT_EQ(refused("external:mine"), "read");
}

TEST_F(PublishedFileOfAJob, is_of_the_test_examples_that_its_zoos_have) {
  const std::string row = "percent,,A,ties,1,50,50,50\n";
  give("tiny", "bars", 9);
  EXPECT_THAT(refusal(row),
              HasSubstr("job.cfg:2: the published numbers are of 10 test examples of 'bars', but the zoo "
                        "'tiny' has 9"));
  give("tiny", "bars", 10);
  give("other", "bars", 9);  // a zoo that no row is of
  EXPECT_EQ(refusal("percent,tiny,A,ties,1,50,50,50\n"), "read");
  packs_.erase("other");
  packs_["tiny"].erase("rows");
  EXPECT_THAT(refusal(row), HasSubstr("of the task 'rows', which the zoo 'tiny' has not"));
}

}  // namespace
}  // namespace fusegrid
