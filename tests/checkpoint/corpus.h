// Crafted .safetensors files with two verdicts each: that of the reference implementation
// (huggingface/safetensors 24b0b28, measured) and ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fusegrid {

enum class Verdict { kAccept, kReject };

struct CorpusFile {
  std::string name;
  std::string bytes;
  Verdict reference;
  Verdict ours;
  std::string rule;  // part of our message where we reject
};

inline std::string length_prefix(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(length >> (8 * i) & 0xFFU);
  }
  return bytes;
}

// A file with this header and `data_bytes` zero bytes of data.
inline std::string safetensors_bytes(const std::string& header, size_t data_bytes = 0,
                                     std::optional<uint64_t> stated_length = std::nullopt) {
  return length_prefix(stated_length.value_or(header.size())) + header + std::string(data_bytes, '\0');
}

inline std::string tensor_json(const std::string& dtype, const std::string& shape,
                               const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}";
}

// A header of one tensor "a".
inline std::string one_tensor(const std::string& dtype, const std::string& shape,
                              const std::string& offsets) {
  return R"({"a":)" + tensor_json(dtype, shape, offsets) + "}";
}

inline std::string repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) {
    all += text;
  }
  return all;
}

inline void add_valid(std::vector<CorpusFile>& files) {
  const auto add = [&](const std::string& name, const std::string& bytes) {
    files.push_back({name, bytes, Verdict::kAccept, Verdict::kAccept, ""});
  };
  const std::string pair = tensor_json("F32", "2", "0,8");
  const std::string plain = R"({"a":)" + pair + "}";
  add("plain", safetensors_bytes(plain, 8));
  add("padded header", safetensors_bytes(plain + "    ", 8));
  add("no tensors", safetensors_bytes("{}"));
  add("no elements", safetensors_bytes(one_tensor("F32", "0,5", "0,0")));
  add("scalar", safetensors_bytes(one_tensor("F32", "", "0,4"), 4));
  add("metadata", safetensors_bytes(R"({"__metadata__":{"format":"pt"},"a":)" + pair + "}", 8));
  add("name like a path", safetensors_bytes(R"({"../../etc/passwd":)" + pair + "}", 8));
  add("empty tensor shares an offset",
      safetensors_bytes(R"({"z":)" + tensor_json("F32", "0", "0,0") + R"(,"a":)" + pair + "}", 8));
  add("9 dimensions", safetensors_bytes(one_tensor("U8", "1,1,1,1,1,1,1,1,1", "0,1"), 1));
  add("empty name", safetensors_bytes(R"({"":)" + pair + "}", 8));
  add("BF16", safetensors_bytes(one_tensor("BF16", "4", "0,8"), 8));
  add("FP8", safetensors_bytes(one_tensor("F8_E4M3", "8", "0,8"), 8));
  add("header not a multiple of 8", safetensors_bytes(one_tensor("F64", "1", "0,8") + " ", 8));
  add("names not in order of offset",
      safetensors_bytes(R"({"b":)" + tensor_json("F32", "2", "8,16") + R"(,"a":)" + pair + "}", 16));
}

// Accepted by the reference, refused by us: what the format's text forbids or makes two readers disagree.
inline void add_departures(std::vector<CorpusFile>& files) {
  const auto add = [&](const std::string& name, const std::string& bytes, const std::string& rule) {
    files.push_back({name, bytes, Verdict::kAccept, Verdict::kReject, rule});
  };
  const std::string pair = tensor_json("F32", "2", "0,8");
  add("leading space", safetensors_bytes(R"( {"a":)" + pair + "}", 8), "must begin with '{'");
  add("name twice",
      safetensors_bytes(
          R"({"w":)" + tensor_json("U8", "4", "0,4") + R"(,"w":)" + tensor_json("F32", "1", "0,4") + "}", 4),
      "'w' occurs twice");
  add("unknown field",
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8), "another 'x'");
  add("control character in a name", safetensors_bytes(R"({"a\u0000b":)" + pair + "}", 8),
      "no control characters");
  std::string ones = repeated("1,", 100);
  ones.pop_back();
  add("100 dimensions", safetensors_bytes(one_tensor("U8", ones, "0,1"), 1), "at most 64 dimensions");
}

inline void add_bad_frames(std::vector<CorpusFile>& files) {
  const auto add = [&](const std::string& name, const std::string& bytes, const std::string& rule) {
    files.push_back({name, bytes, Verdict::kReject, Verdict::kReject, rule});
  };
  const std::string plain = one_tensor("F32", "2", "0,8");
  add("header of 2^63 bytes", safetensors_bytes(plain, 8, uint64_t{1} << 63), "at most 100000000");
  add("header length that wraps around", safetensors_bytes(plain, 8, ~uint64_t{7}), "at most 100000000");
  add("header longer than the file", safetensors_bytes(plain, 8, 5000), "lie inside the file");
  add("header of no bytes", safetensors_bytes(plain, 8, 0), "begins with its end");
  add("7 bytes", std::string("\1\0\0\0\0\0\0", 7), "it has 7 bytes");
  add("empty file", "", "it has 0 bytes");
  add("trailing data", safetensors_bytes(plain, 16), "cover the data exactly");
  add("truncated data", safetensors_bytes(plain, 4), "is it truncated?");
}

inline void add_bad_layouts(std::vector<CorpusFile>& files) {
  const auto add = [&](const std::string& name, const std::string& header, size_t data,
                       const std::string& rule) {
    files.push_back({name, safetensors_bytes(header, data), Verdict::kReject, Verdict::kReject, rule});
  };
  const std::string pair = tensor_json("F32", "2", "0,8");
  const std::string pair_then = R"({"a":)" + pair + R"(,"b":)";
  add("overlap", pair_then + pair + "}", 8, "without hole or overlap, but 'b'");
  add("hole", pair_then + tensor_json("F32", "1", "12,16") + "}", 16, "where byte 8 is next");
  add("first offset is not 0", one_tensor("F32", "1", "4,8"), 8, "where byte 0 is next");
  add("begin behind end", one_tensor("F32", "2", "8,0"), 8, "must span the tensor");
  add("size does not fit", one_tensor("F32", "1000,1000", "0,8"), 8, "[0, 8) for 4000000 bytes");
  add("shape overflows", one_tensor("F32", "4194305,4194305,211106198978564", "0,16"), 16, "below 2^63");
  add("2^53 + 1 bytes", one_tensor("U8", "9007199254740993", "0,9007199254740993"), 8,
      "cover 9007199254740993");
  add("empty tensor inside another", R"({"a":)" + pair + R"(,"z":)" + tensor_json("F32", "0", "4,4") + "}", 8,
      "without hole or overlap, but 'z'");
  add("F4 ends inside a byte", one_tensor("F4", "3", "0,2"), 2, "whole number of bytes");
}

inline void add_bad_json(std::vector<CorpusFile>& files) {
  const auto add = [&](const std::string& name, const std::string& header, const std::string& rule) {
    files.push_back({name, safetensors_bytes(header, 8), Verdict::kReject, Verdict::kReject, rule});
  };
  const std::string pair = tensor_json("F32", "2", "0,8");
  add("not UTF-8", "{\"a\xFF\":" + pair + "}", "must be UTF-8");
  add("array at the root", "[1,2,3]", "must begin with '{'");
  add("garbage behind the header", R"({"a":)" + pair + "} x", "nothing must follow");
  add("negative size", one_tensor("F32", "-2", "0,8"), "a whole number");
  add("fractional size", one_tensor("F32", "2.5", "0,8"), "a whole number");
  add("exponent", one_tensor("F32", "2e0", "0,8"), "a whole number");
  add("leading zero", one_tensor("F32", "02", "0,8"), "a whole number");
  add("field twice", R"({"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})",
      "another 'dtype'");
  add("unknown dtype", one_tensor("F31", "2", "0,8"), "it is 'F31'");
  add("prefix of a dtype", one_tensor("F", "2", "0,8"), "it is 'F'");
  add("no shape", R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", "has no shape");
  add("three offsets", one_tensor("F32", "2", "0,4,8"), "']' must come next");
  add("number in the metadata", R"({"__metadata__":{"a":1},"a":)" + pair + "}", "a string must come next");
  add("nested metadata", R"({"__metadata__":{"a":{"b":"c"}},"a":)" + pair + "}", "a string must come next");
  add("200 levels", R"({"a":)" + std::string(200, '[') + std::string(200, ']') + "}", "'{' must come next");
  add("100,000 levels", R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
      "'{' must come next");
  add("4,000,000 levels", R"({"a":)" + std::string(4'000'000, '['), "'{' must come next");
  add("bare NUL in a name", std::string("{\"a\0b\":", 7) + pair + "}", "no bare control character");
  add("single quotes", "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", "a string must come next");
  add("no closing brace", R"({"a":)" + pair, "',' or '}' must come next");
}

inline std::vector<CorpusFile> corpus() {
  std::vector<CorpusFile> files;
  add_valid(files);
  add_departures(files);
  add_bad_frames(files);
  add_bad_layouts(files);
  add_bad_json(files);
  return files;
}

}  // namespace fusegrid
