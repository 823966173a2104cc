#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/corpus.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

SafetensorsHeader parse(const std::string& bytes) {
  const std::string_view all = bytes;
  const uint64_t length = parse_header_length(all.substr(0, kLengthBytes), all.size(), "f.safetensors");
  return parse_safetensors_header(all.substr(kLengthBytes, length), all.size() - kLengthBytes - length,
                                  "f.safetensors");
}

// The message of the rejection, "" where `bytes` are accepted.
std::string rejection(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(SafetensorsHeader, gives_our_verdict_on_every_file_of_the_corpus) {
  const auto files = corpus();
  EXPECT_EQ(files.size(), 56U);
  for (const auto& file : files) {
    const std::string message = rejection(file.bytes);
    EXPECT_EQ(message.empty(), file.ours == Verdict::kAccept) << file.name << ": " << message;
    if (file.ours == Verdict::kReject) {
      EXPECT_THAT(message, HasSubstr(file.rule)) << file.name;
      EXPECT_THAT(message, HasSubstr("'f.safetensors'")) << file.name;
    }
  }
}

TEST(SafetensorsHeader, departs_from_the_reference_only_where_listed) {
  std::set<std::string> departures;
  for (const auto& file : corpus()) {
    if (file.ours != file.reference) {
      EXPECT_EQ(file.ours, Verdict::kReject) << file.name;
      departures.insert(file.name);
    }
  }
  EXPECT_THAT(departures, testing::ElementsAre("100 dimensions", "control character in a name",
                                               "leading space", "name twice", "unknown field"));
}

TEST(SafetensorsHeader, sorts_tensors_by_name_and_keeps_their_offsets) {
  const auto header = parse(safetensors_bytes(
      R"({"b":)" + tensor_json("I64", "2", "0,16") + R"(,"a":)" + tensor_json("BF16", "3,1", "16,22") + "}",
      22));
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].dtype, FileDtype::kBF16);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(header.tensors[0].begin, 16U);
  EXPECT_EQ(header.tensors[0].end, 22U);
  EXPECT_EQ(header.find("b"), &header.tensors[1]);
  EXPECT_EQ(header.find("c"), nullptr);
}

TEST(SafetensorsHeader, reads_metadata_and_white_space_between_tokens) {
  const auto header =
      parse(safetensors_bytes("{ \"__metadata__\" :\n{ \"k\" : \"v\" , \"l\":\"\" } ,\t\"a\" : { \"shape\" : "
                              "[ 1 , 1 ] , \"data_offsets\" : [ "
                              "0 , 1 ] , \"dtype\" : \"U8\" } }\r\n ",
                              1));
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"k", "v"}, {"l", ""}}));
  EXPECT_EQ(header.tensors.at(0).shape, (std::vector<int64_t>{1, 1}));
}

TEST(SafetensorsHeader, decodes_escapes) {
  const auto header = parse(safetensors_bytes(R"({"\"\\\/\u0041\u00e9\u20AC\ud83d\ude00é":)" +
                                              tensor_json("U8", "0", "0,0") + "}"));
  EXPECT_EQ(header.tensors.at(0).name, "\"\\/Aé€😀é");
}

TEST(SafetensorsHeader, refuses_broken_escapes_and_lists) {
  const std::string tensor = tensor_json("U8", "0", "0,0");
  for (const std::string& name : std::vector<std::string>{R"(\ud83d)", R"(\ude00)", R"(\ud83d\u0041)",
                                                          R"(\u12)", R"(\u12g4)", R"(\x)"}) {
    EXPECT_NE(rejection(safetensors_bytes("{\"" + name + "\":" + tensor + "}")), "") << name;
  }
  for (const std::string& header :
       std::vector<std::string>{R"({"a":)" + tensor + ",}", "{,}", one_tensor("U8", "0,", "0,0"),
                                one_tensor("U8", ",0", "0,0"), one_tensor("U8", "0 0", "0,0"),
                                std::string("{\"a"), std::string("{\"a\\"), std::string("{\"a\\u")}) {
    EXPECT_NE(rejection(safetensors_bytes(header)), "") << header;
  }
}

TEST(SafetensorsHeader, refuses_every_kind_of_bad_utf8) {
  for (const std::string& bytes :
       std::vector<std::string>{"\x80", "\xC0\xAF", "\xC3", "\xE0\x80\xAF", "\xED\xA0\x80",
                                "\xF0\x80\x80\xAF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82"}) {
    EXPECT_THAT(rejection(safetensors_bytes("{\"" + bytes + "\":" + tensor_json("U8", "0", "0,0") + "}")),
                HasSubstr("must be UTF-8"));
  }
}

TEST(SafetensorsHeader, keeps_its_limits) {
  const auto named = [](size_t bytes) {
    return rejection(
        safetensors_bytes("{\"" + std::string(bytes, 'n') + "\":" + tensor_json("U8", "0", "0,0") + "}"));
  };
  EXPECT_EQ(named(kMaxNameBytes), "");
  EXPECT_THAT(named(kMaxNameBytes + 1), HasSubstr("at most 1024 bytes"));
  // the strides of an empty tensor must not overflow
  EXPECT_THAT(rejection(safetensors_bytes(one_tensor("U8", "0,4294967296,4294967296", "0,0"))),
              HasSubstr("below 2^63"));
  EXPECT_EQ(rejection(safetensors_bytes(one_tensor("U8", "9223372036854775807,0", "0,0"))), "");
  EXPECT_THAT(rejection(safetensors_bytes(one_tensor("F64", "4611686018427387904", "0,0"))),
              HasSubstr("2^61"));
  EXPECT_THAT(rejection(safetensors_bytes(one_tensor("U8", "18446744073709551616", "0,0"))),
              HasSubstr("2^64 - 1"));
}

TEST(SafetensorsHeader, refuses_more_than_a_million_tensors) {
  std::string header = "{";
  const std::string tensor = ":" + tensor_json("U8", "0", "0,0") + ",";
  for (size_t i = 0; i <= kMaxTensors; ++i) {
    header += '"' + std::to_string(i) + '"' + tensor;
  }
  header.back() = '}';
  EXPECT_THAT(rejection(safetensors_bytes(header)), HasSubstr("at most 1000000 tensors"));
}

TEST(SafetensorsHeader, refuses_repeated_metadata) {
  EXPECT_THAT(rejection(safetensors_bytes(R"({"__metadata__":{"a":"b","a":"c"}})")),
              HasSubstr("'a' occurs twice"));
  EXPECT_THAT(rejection(safetensors_bytes(R"({"__metadata__":{},"__metadata__":{}})")), HasSubstr("twice"));
}

TEST(SafetensorsHeader, messages_stay_short_and_printable) {
  const std::string message =
      rejection(safetensors_bytes(one_tensor("\\u0007" + repeated("é", 5000), "", "0,0")));
  EXPECT_LT(message.size(), 300U);
  EXPECT_TRUE(std::none_of(message.begin(), message.end(), [](char c) { return c >= 0 && c < ' '; }));
}

// What every accepted header must satisfy, computed without the parser's own checks.
void expect_tiling(const SafetensorsHeader& header, uint64_t data_bytes) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  std::set<std::string> names;
  for (const auto& tensor : header.tensors) {
    __extension__ using Wide = unsigned __int128;
    Wide bits = bits_of(tensor.dtype);
    for (const int64_t size : tensor.shape) {
      ASSERT_GE(size, 0);
      bits *= static_cast<Wide>(size);
    }
    ASSERT_EQ(bits % 8, 0);
    ASSERT_EQ(bits / 8, tensor.end - tensor.begin) << tensor.name;
    ranges.emplace_back(tensor.begin, tensor.end);
    ASSERT_TRUE(names.insert(tensor.name).second);
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t next = 0;
  for (const auto& [begin, end] : ranges) {
    ASSERT_EQ(begin, next);
    next = end;
  }
  ASSERT_EQ(next, data_bytes);
}

// One random edit: a bit, a byte, a piece removed, repeated or replaced by a token of the format.
void mutate(std::string& bytes, std::mt19937_64& random) {
  static const std::vector<std::string> kTokens{"{",
                                                "}",
                                                "[",
                                                "]",
                                                ",",
                                                ":",
                                                "\"",
                                                "0",
                                                "8",
                                                "16",
                                                "\\u0",
                                                "\"a\"",
                                                "\"b\"",
                                                "\"F4\"",
                                                "\"U8\"",
                                                "\"F64\"",
                                                "[0,8]",
                                                "18446744073709551615",
                                                "-1",
                                                " ",
                                                "\xFF",
                                                "\"shape\":",
                                                "\"dtype\":",
                                                "\"data_offsets\":",
                                                "\"__metadata__\":",
                                                "{}",
                                                "e1"};
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  if (bytes.empty()) {
    bytes = "x";
  }
  const size_t at = below(bytes.size());
  const size_t length = std::min(below(12), bytes.size() - at);
  switch (below(5)) {
    case 0:
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1U << below(8)));
      break;
    case 1:
      bytes[at] = static_cast<char>(random());
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(at, length));
      break;
    default:
      bytes.replace(at, below(3) == 0 ? 0 : length, kTokens[below(kTokens.size())]);
  }
}

TEST(SafetensorsHeader, survives_mutations_and_accepts_only_what_tiles_the_data) {
  std::vector<CorpusFile> seeds;
  add_valid(seeds);
  add_departures(seeds);
  add_bad_layouts(seeds);
  std::mt19937_64 random(20240229);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string& seed = seeds[random() % seeds.size()].bytes;
    const uint64_t length = parse_header_length(seed.substr(0, kLengthBytes), seed.size(), "seed");
    const uint64_t seed_data_bytes = seed.size() - kLengthBytes - length;
    std::string json = seed.substr(kLengthBytes, length);
    for (uint64_t edits = random() % 4; edits > 0; --edits) {
      mutate(json, random);
    }
    const uint64_t data_bytes = random() % 4 == 0 ? random() % 24 : seed_data_bytes;
    try {
      expect_tiling(parse_safetensors_header(json, data_bytes, "mutated"), data_bytes);
      ++accepted;
    } catch (const DataError&) {
      // the expected end of most mutations
    }
    ASSERT_FALSE(HasFatalFailure()) << json;
  }
  // the test means something only where both ends are common
  EXPECT_GT(accepted, 1000);
  EXPECT_LT(accepted, 19'000);
}

}  // namespace
}  // namespace fusegrid
