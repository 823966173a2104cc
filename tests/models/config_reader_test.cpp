#include "models/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid::config_reader_test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const json kConfig{{"size", 3},    {"sizes", {3, 4}}, {"zero", 0},      {"epsilon", 1e-5},
                   {"flag", true}, {"word", "a"},     {"none", nullptr}};

ConfigReader reader() {
  return {kConfig, "tower."};
}

TEST(ConfigReader, ReadsWhatIsGivenAndElseTheDefault) {
  EXPECT_EQ(reader().size("size", 7), 3);
  EXPECT_EQ(reader().size("size"), 3);
  EXPECT_EQ(reader().size("absent", 7), 7);
  EXPECT_EQ(reader().sizes("sizes"), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(reader().count("zero", 7), 0);
  EXPECT_EQ(reader().count("absent", 7), 7);
  EXPECT_EQ(reader().positive("epsilon", 1), 1e-5);
  EXPECT_TRUE(reader().flag("flag", false));
  EXPECT_FALSE(reader().flag("absent", false));
  EXPECT_EQ(reader().one_of("word", "b", {"a", "b"}), "a");
  EXPECT_EQ(reader().one_of("absent", "b", {"a", "b"}), "b");
  EXPECT_EQ(reader().size_or_null("size", 7), 3);
  EXPECT_EQ(reader().size_or_null("absent", 7), 7);
  EXPECT_EQ(reader().size_or_null("absent"), std::nullopt);
  EXPECT_EQ(reader().size_or_null("none", 7), std::nullopt);
  EXPECT_NO_THROW(reader().require_only("flag", true));
  EXPECT_NO_THROW(reader().require_only("absent", "anything"));
}

TEST(ConfigReader, ErrorsNameThePathTheRuleAndTheValue) {
  EXPECT_EQ(message_of<ConfigError>([] { reader().size("zero", 7); }),
            "config.json: tower.zero must be a positive whole number, but it is 0");
  EXPECT_EQ(message_of<ConfigError>([] { reader().size("absent"); }),
            "config.json: tower.absent must be a positive whole number, but it is missing");
  EXPECT_EQ(message_of<ConfigError>([] { reader().sizes("size"); }),
            "config.json: tower.size must be a list of positive whole numbers, but it is 3");
  EXPECT_EQ(message_of<ConfigError>([] { reader().count("epsilon", 7); }),
            "config.json: tower.epsilon must be a whole number, 0 or more, but it is 1e-05");
  EXPECT_EQ(message_of<ConfigError>([] { reader().flag("zero", true); }),
            "config.json: tower.zero must be true or false, but it is 0");
  EXPECT_EQ(message_of<ConfigError>([] {
              reader().one_of("word", "b", {"b", "c"});
            }),
            "config.json: tower.word must be b or c, but it is \"a\"");
  EXPECT_EQ(message_of<ConfigError>([] { reader().require_only("flag", false); }),
            "config.json: tower.flag must be false, but it is true");
  EXPECT_EQ(message_of<ConfigError>([] { reader().flag("size", false); }),
            "config.json: tower.size must be true or false, but it is 3");
  EXPECT_EQ(message_of<ConfigError>([] { reader().size_or_null("zero"); }),
            "config.json: tower.zero must be a positive whole number, but it is 0");
  EXPECT_THAT(message_of<ConfigError>([] { reader().size("none", 7); }), HasSubstr("null"));
  EXPECT_THAT(message_of<ConfigError>([] { reader().sizes("absent"); }), HasSubstr("missing"));
}

}  // namespace
}  // namespace fusegrid::config_reader_test
