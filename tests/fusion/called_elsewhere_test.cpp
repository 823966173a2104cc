#include "fusion/called_elsewhere.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/compat/porting.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string answer_to(const std::string& name) {
  return message_of<ConfigError>([&] { method_called(name); });
}

TEST(CalledElsewhere, every_method_of_mergekit_is_answered) {
  for (const PortedMethod& ported : ported_methods()) {
    const std::string here = ported.call.substr(0, ported.call.find('{'));
    ASSERT_TRUE(method_registry().contains(here)) << here;
    if (method_registry().contains(ported.name)) {
      EXPECT_EQ(method_called(ported.name).card.name, ported.name);
    } else {
      EXPECT_THAT(answer_to(ported.name),
                  AllOf(HasSubstr("called '" + here + "' here"), Not(HasSubstr("Known:"))));
    }
  }
}

TEST(CalledElsewhere, other_spellings_and_names_are_answered) {
  const std::vector<std::pair<std::string, std::string>> names{{"TIES", "mean 'ties'"},
                                                               {"Dare-Ties", "mean 'dare_ties'"},
                                                               {"LINEAR", "'weighted_average' here"},
                                                               {"ties_merging", "'ties' here"},
                                                               {"emr_merging", "'emr' here"},
                                                               {"frankenmerge", "'passthrough' here"},
                                                               {"RegMean++", "'regmean_plusplus' here"},
                                                               {"SWUDI-A", "'aswudi' here"},
                                                               {"della-linear", "'della' here"}};
  for (const auto& [name, hint] : names) {
    EXPECT_THAT(answer_to(name), HasSubstr(hint));
  }
  EXPECT_THAT(answer_to("nothing_like_it"), HasSubstr("Known:"));
}

TEST(CalledElsewhere, parameters_of_mergekit_are_answered) {
  const auto answer = [](const std::string& method, const std::string& parameter) {
    return message_of<ConfigError>([&] {
      check_parameter_names(method_registry().at(method), {{parameter, "0.5"}});
    });
  };
  EXPECT_THAT(answer("ties", "lambda"), HasSubstr("called 'scale' here"));
  EXPECT_THAT(answer("ties", "weight"), HasSubstr("called 'weights' here"));
  EXPECT_THAT(answer("dare", "density"), AllOf(HasSubstr("called 'drop_rate' here"), HasSubstr("1 - ")));
  EXPECT_THAT(answer("sce", "select_topk"), HasSubstr("called 'density' here"));
  EXPECT_THAT(answer("ties", "int8_mask"), HasSubstr("no counterpart"));
  EXPECT_NO_THROW(
      check_parameter_names(method_registry().at("ties"), {{"density", "0.5"}, {"not_mergekits", "1"}}));
}

}  // namespace
}  // namespace fusegrid
