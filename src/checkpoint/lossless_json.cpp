#include "checkpoint/lossless_json.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <vector>

#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int kMaxDepth = 64;
// Escaped as it stands in texts; the letter behind it says what follows.
constexpr std::string_view kMark = "\\u0001";
constexpr char kNumber = 'N';     // at the beginning of a string: the rest is a number's text
constexpr char kSurrogate = 'S';  // four hexadecimal digits of half a pair follow
constexpr char kItself = 'E';     // the character that the mark is made of

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

// The number that begins at `at`, by the grammar of JSON; "" where none does.
std::string_view number_at(std::string_view text, size_t at) {
  size_t end = at;
  const auto digits = [&] {
    const size_t begin = end;
    while (end < text.size() && is_digit(text[end])) {
      ++end;
    }
    return end > begin;
  };
  const auto skip = [&](std::string_view any) {
    const bool there = end < text.size() && any.find(text[end]) != std::string_view::npos;
    end += there ? 1 : 0;
    return there;
  };
  skip("-");
  const size_t first = end;
  if (!digits() || (text[first] == '0' && end > first + 1)) {
    return {};
  }
  if (skip(".") && !digits()) {
    return {};
  }
  if (skip("eE")) {
    skip("+-");
    if (!digits()) {
      return {};
    }
  }
  return text.substr(at, end - at);
}

bool fits_a_number(std::string_view number) {
  if (number.find_first_of(".eE") != std::string_view::npos) {
    return std::isfinite(std::strtod(std::string(number).c_str(), nullptr));
  }
  const auto fits = [&](auto value) {
    return std::from_chars(number.data(), number.data() + number.size(), value).ec == std::errc();
  };
  return fits(int64_t{}) || fits(uint64_t{});
}

// What stands at `at` outside of strings and has to be kept as text.
std::string_view kept_as_text(std::string_view text, size_t at) {
  for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
    if (text.substr(at, word.size()) == word) {
      return word;
    }
  }
  const std::string_view number = number_at(text, at);
  return number.empty() || fits_a_number(number) ? std::string_view() : number;
}

// The code of an escape \uXXXX at `at`.
std::optional<unsigned> code_at(std::string_view text, size_t at) {
  unsigned code = 0;
  if (text.substr(at, 2) != "\\u" || text.size() < at + 6) {
    return std::nullopt;
  }
  const char* const digits = text.data() + at + 2;
  const auto [end, error] = std::from_chars(digits, digits + 4, code, 16);
  return error == std::errc() && end == digits + 4 ? std::optional(code) : std::nullopt;
}

class Marker {
 public:
  explicit Marker(std::string_view text) : text_(text) {}

  std::string marked() {
    bool inside = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        inside = !inside;
        take(1);
      } else if (inside) {
        take_in_string();
      } else if (const auto kept = kept_as_text(text_, at_); !kept.empty()) {
        out_ += '"' + std::string(kMark) + kNumber + std::string(kept) + '"';
        at_ += kept.size();
      } else {
        const size_t number = number_at(text_, at_).size();
        take(std::max<size_t>(number, 1));
      }
    }
    return std::move(out_);
  }

 private:
  void take(size_t count) {
    out_ += text_.substr(at_, count);
    at_ += count;
  }

  void take_in_string() {
    if (text_[at_] != '\\') {
      take(1);
      return;
    }
    const auto code = code_at(text_, at_);
    if (!code) {
      take(2);
      return;
    }
    const auto low = code_at(text_, at_ + 6);
    if (*code >= 0xD800 && *code < 0xDC00 && low && *low >= 0xDC00 && *low < 0xE000) {
      take(12);
    } else if (*code >= 0xD800 && *code < 0xE000) {
      out_ += std::string(kMark) + kSurrogate + std::string(text_.substr(at_ + 2, 4));
      at_ += 6;
    } else if (*code == 1) {
      out_ += std::string(kMark) + kItself;
      at_ += 6;
    } else {
      take(6);
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string out_;
};

// Refuses what nlohmann::json lets pass: keys that occur twice (the last would win), deep nesting (a small file would
// take much memory), and numbers in the place of keys, which the marks would hide.
class StrictKeys {
 public:
  explicit StrictKeys(std::string file) : file_(std::move(file)) {}

  bool operator()(int depth, nlohmann::json::parse_event_t event, const nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth) {
      throw DataError("'" + file_ + "' must nest at most " + std::to_string(kMaxDepth) +
                      " levels deep, but nests deeper");
    }
    if (event == Event::object_start) {
      keys_.emplace_back();
    } else if (event == Event::object_end) {
      keys_.pop_back();
    } else if (event == Event::key) {
      check_key(parsed.get<std::string>());
    }
    return true;
  }

 private:
  void check_key(const std::string& key) {
    if (key.starts_with(std::string("\x01") + kNumber)) {
      throw DataError("'" + file_ + "' must be JSON, but " + printable(key.substr(2)) +
                      " stands in the place of a key");
    }
    if (!keys_.back().insert(key).second) {
      throw DataError("'" + file_ + "' must have each key once, but has " + printable(key) + " twice");
    }
  }

  std::string file_;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

nlohmann::json parse_lossless(std::string_view text, const std::string& file) {
  try {
    return nlohmann::json::parse(Marker(text).marked(), StrictKeys(file));
  } catch (const nlohmann::json::exception& error) {
    throw DataError("'" + file + "' must be JSON, but it is not: " + error.what());
  }
}

std::string dump_lossless(const nlohmann::json& json, int indent) {
  const std::string text = json.dump(indent);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '\\') {
      out += text[at++];
      continue;
    }
    if (text.compare(at, kMark.size(), kMark) != 0) {
      out += text.substr(at, 2);
      at += 2;
      continue;
    }
    at += kMark.size();
    const char kind = text[at++];
    if (kind == kNumber) {
      out.pop_back();  // the quote before it
      const size_t quote = text.find('"', at);
      out += text.substr(at, quote - at);
      at = quote + 1;
    } else {
      out += kind == kSurrogate ? std::string("\\u") : std::string(kMark);
    }
  }
  return out;
}

}  // namespace fusegrid
