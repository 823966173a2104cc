#include "core/params.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

struct Options {
  double scale = 0.3;
  int64_t steps = 10;
  bool clamp = false;
  std::string merge = "sum";
  std::vector<double> weights;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-1, 2}, "a number");
    v.param("steps", steps, Range{0, 100}, "a whole number");
    v.param("clamp", clamp, "a choice of two");
    v.param("merge", merge, Choices{"sum", "mean"}, "a word");
    v.param("weights", weights, Range{-1, 1}, "a list");
  }
};

Options read(const ParamText& text) {
  Options options;
  ParamReader reader("method 'toy'", text);
  options.describe(reader);
  reader.expect_all_read();
  return options;
}

std::string refusal_of(const ParamText& text) {
  try {
    read(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ParamReader, keeps_the_defaults_of_what_is_not_given) {
  const Options options = read({});
  EXPECT_EQ(options.scale, 0.3);
  EXPECT_EQ(options.merge, "sum");
  EXPECT_TRUE(options.weights.empty());
}

TEST(ParamReader, reads_all_kinds) {
  const Options options = read(
      {{"scale", "-0.5"}, {"steps", "7"}, {"clamp", "true"}, {"merge", "mean"}, {"weights", "0.25:-1:0"}});
  EXPECT_EQ(options.scale, -0.5);
  EXPECT_EQ(options.steps, 7);
  EXPECT_TRUE(options.clamp);
  EXPECT_EQ(options.merge, "mean");
  EXPECT_EQ(options.weights, (std::vector<double>{0.25, -1, 0}));
}

TEST(ParamReader, refuses_and_names_owner_parameter_and_value) {
  for (const auto& [name, value] : ParamText{
           {"scale", "2.5"}, {"steps", "101"}, {"clamp", "yes"}, {"merge", "max"}, {"weights", "0:7"}}) {
    const std::string message = refusal_of({{name, value}});
    EXPECT_NE(message.find("of method 'toy'"), std::string::npos) << message;
    EXPECT_NE(message.find("'" + name + "'"), std::string::npos) << message;
    EXPECT_NE(message.find(name == "weights" ? "7" : value), std::string::npos) << message;
  }
  for (const auto& [name, value] :
       ParamText{{"scale", "0.3x"}, {"steps", "1.5"}, {"weights", "1::1"}, {"merge", ""}}) {
    EXPECT_NE(refusal_of({{name, value}}), "") << name << "=" << value;
  }
  EXPECT_NE(refusal_of({{"scale", "nan"}}), "");
}

TEST(ParamReader, suggests_the_parameter_that_was_meant) {
  const std::string message = refusal_of({{"scael", "1"}});
  EXPECT_TRUE(message.starts_with("method 'toy' has no parameter 'scael'; ")) << message;
  EXPECT_NE(message.find("did you mean 'scale'?"), std::string::npos) << message;
}

TEST(ParamLister, writes_what_the_reader_reads) {
  ParamLister lister;
  Options options = read({{"scale", "0.1"}, {"weights", "0.5:1"}});
  options.describe(lister);
  EXPECT_EQ(lister.canonical(), "scale=0.1,steps=10,clamp=false,merge=sum,weights=0.5:1");
  const Options again = read(parse_call("toy{" + lister.canonical() + "}").second);
  EXPECT_EQ(again.scale, options.scale);
  EXPECT_EQ(again.weights, options.weights);
  ASSERT_EQ(lister.params().size(), 5U);
  EXPECT_EQ(lister.params()[0].accepts, "[-1, 2]");
  EXPECT_EQ(lister.params()[3].accepts, "sum | mean");
  EXPECT_EQ(lister.params()[2].doc, "a choice of two");
}

TEST(ParamLister, of_an_empty_list_reads_back_as_not_given) {
  ParamLister lister;
  Options options;
  options.describe(lister);
  const Options again = read(parse_call("toy{" + lister.canonical() + "}").second);
  EXPECT_TRUE(again.weights.empty());
}

TEST(ParseCall, splits_the_name_from_its_parameters) {
  EXPECT_EQ(parse_call(" ties "), (std::pair<std::string, ParamText>{"ties", {}}));
  EXPECT_EQ(parse_call("ties{}"), (std::pair<std::string, ParamText>{"ties", {}}));
  EXPECT_EQ(parse_call("ties{ a = 1, b=x }"),
            (std::pair<std::string, ParamText>{"ties", {{"a", "1"}, {"b", "x"}}}));
}

TEST(ParseCall, refuses_what_is_no_call) {
  for (const auto* text : {"ties{a=1", "ties{a}", "ties{a=1,a=2}", "ties{a=1}x"}) {
    EXPECT_THROW(parse_call(text), ConfigError) << text;
  }
}

}  // namespace
}  // namespace fusegrid
