#include "cli/provenance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/build_facts.h"
#include "comm/transport.h"

namespace fusegrid {
namespace {

// The store makes columns of /runs of these members.
TEST(Provenance, names_the_revision_the_command_and_the_time_at_its_top) {
  const auto alone = in_process_transports(1);
  const auto provenance = launch_provenance({"fusegrid", "run", "job.cfg"}, *alone[0]);
  const std::string git = provenance.at("git");
  EXPECT_THAT(git, testing::StartsWith(build_facts().revision));
  EXPECT_EQ(git.ends_with("-dirty"), build_facts().dirty);
  EXPECT_EQ(provenance.at("argv").size(), 3U);
  EXPECT_THAT(provenance.at("started").get<std::string>(), testing::MatchesRegex("20[0-9-]+T[0-9:]+Z"));
}

}  // namespace
}  // namespace fusegrid
