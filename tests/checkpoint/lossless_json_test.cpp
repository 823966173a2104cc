#include "checkpoint/lossless_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

std::string again(const std::string& text) {
  return dump_lossless(parse_lossless(text, "config.json"), -1);
}

std::string refusal(const std::string& text) {
  return message_of<DataError>([&] { parse_lossless(text, "a/config.json"); });
}

TEST(LosslessJson, writes_what_python_reads_as_it_was) {
  for (const std::string text :
       {R"({"a":NaN})", R"({"a":[Infinity,-Infinity,NaN,0.5]})", R"([NaN])", "NaN", "-Infinity",
        R"({"a":1000000000000000019884624838656})", R"({"a":-99999999999999999999})", R"({"a":1e999})",
        R"({"a":18446744073709551615,"b":-9223372036854775808})", R"({"a":"\ud800 \udc00"})",
        R"({"a":"\u0001N5","b":"\u0001E","c":"\\u0001"})", R"({"NaN":"Infinity, 1e999"})",
        R"({"\u0001N5":1})", R"({"a":"\\","b":NaN})"}) {
    EXPECT_EQ(again(text), text);
  }
  EXPECT_EQ(again("{\"a\" : 1E2, \"b\":\t-0.0, \"c\": \"\\u00e9\"}"),
            "{\"a\":100.0,\"b\":-0.0,\"c\":\"\xC3\xA9\"}");
  EXPECT_EQ(again("\xEF\xBB\xBF{\"a\": 1}"), R"({"a":1})");
  EXPECT_EQ(again(R"({"a":"\ud83d\ude00"})"), "{\"a\":\"\xF0\x9F\x98\x80\"}");
}

TEST(LosslessJson, numbers_that_fit_are_numbers_and_others_are_none) {
  const auto json = parse_lossless(R"({"a": 7, "b": NaN, "c": 99999999999999999999, "d": 1e-5})", "");
  EXPECT_EQ(json["a"], 7);
  EXPECT_FALSE(json["b"].is_number());
  EXPECT_FALSE(json["c"].is_number());
  EXPECT_EQ(json["d"], 1e-5);
}

TEST(LosslessJson, refuses_what_no_reader_takes_with_the_file) {
  for (const std::string text :
       {"", "{\"a\": 1,}", "{a: 1}", "{NaN: 1}", "{\"a\": 1, NaN: 2}", "{99999999999999999999: 1}",
        "{\"a\": nan}", "{\"a\": +Infinity}", "{\"a\": 01}", "{\"a\": 1.}", "{\"a\": --Infinity}",
        "{\"a\": InfinityNaN}", "{\"a\": \"\\u00\"}", "{\"a\": \"\x01\"}", "{\"a\": \"", "{\"a\": \"\\",
        "{\"a\": NaN", "{'a': 1}"}) {
    EXPECT_THAT(refusal(text), HasSubstr("a/config.json")) << text;
  }
  EXPECT_THAT(refusal(R"({"hidden_act": "relu", "hidden_act": "gelu"})"), HasSubstr("'hidden_act' twice"));
  EXPECT_THAT(refusal(std::string(100, '[') + std::string(100, ']')), HasSubstr("64 levels"));
}

}  // namespace
}  // namespace fusegrid
