#include "checkpoint/json_scanner.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/errors.h"

namespace fusegrid {
namespace {

// Length of the UTF-8 sequence that starts at `at`, 0 where there is none: over-long forms, surrogates and
// code points above 0x10FFFF are none.
size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  const unsigned second = byte(1);
  if (first < 0x80) {
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF) {
    return continues(1) ? 2 : 0;
  }
  if (first >= 0xE0 && first <= 0xEF) {
    const bool excluded = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F);
    return !excluded && continues(1) && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool excluded = (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
    return !excluded && continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& text, uint32_t code) {
  const auto append = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    append(code);
  } else if (code < 0x800) {
    append(0xC0U | code >> 6);
    append(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    append(0xE0U | code >> 12);
    append(0x80U | (code >> 6 & 0x3FU));
    append(0x80U | (code & 0x3FU));
  } else {
    append(0xF0U | code >> 18);
    append(0x80U | (code >> 12 & 0x3FU));
    append(0x80U | (code >> 6 & 0x3FU));
    append(0x80U | (code & 0x3FU));
  }
}

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  size_t cut = std::min(text.size(), max_bytes);
  while (cut > 0 && cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) {
    --cut;  // not inside a character: the message must stay UTF-8
  }
  std::string shown(text.substr(0, cut));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return "'" + shown + (cut < text.size() ? "...'" : "'");
}

JsonScanner::JsonScanner(std::string_view json, std::string context)
    : json_(json), context_(std::move(context)) {
  while (at_ < json_.size()) {
    const size_t length = utf8_length(json_, at_);
    if (length == 0) {
      fail("it must be UTF-8, but it is not");
    }
    at_ += length;
  }
  at_ = 0;
}

void JsonScanner::fail(const std::string& message) const {
  throw DataError(context_ + message + " (byte " + std::to_string(at_) + " of its JSON)");
}

std::string JsonScanner::seen() const {
  return at_ < json_.size() ? printable(json_.substr(at_), 12) : "its end";
}

void JsonScanner::skip_space() {
  while (at_ < json_.size() &&
         (json_[at_] == ' ' || json_[at_] == '\n' || json_[at_] == '\t' || json_[at_] == '\r')) {
    ++at_;
  }
}

void JsonScanner::expect_first(char token) {
  if (json_.empty() || json_[0] != token) {
    fail(std::string("it must begin with '") + token + "', but it begins with " + seen());
  }
  at_ = 1;
}

bool JsonScanner::accept(char token) {
  skip_space();
  if (at_ == json_.size() || json_[at_] != token) {
    return false;
  }
  ++at_;
  return true;
}

void JsonScanner::expect(char token) {
  if (!accept(token)) {
    fail(std::string("'") + token + "' must come next, but " + seen() + " comes");
  }
}

bool JsonScanner::next_item(char close) {
  if (accept(',')) {
    return true;
  }
  if (!accept(close)) {
    fail(std::string("',' or '") + close + "' must come next, but " + seen() + " comes");
  }
  return false;
}

void JsonScanner::expect_end() {
  skip_space();
  if (at_ != json_.size()) {
    fail("nothing must follow the last '}', but " + seen() + " does");
  }
}

std::string JsonScanner::key() {
  std::string text = string();
  expect(':');
  return text;
}

std::string JsonScanner::string() {
  skip_space();
  if (at_ == json_.size() || json_[at_] != '"') {
    fail("a string must come next, but " + seen() + " comes");
  }
  std::string text;
  for (++at_; at_ < json_.size(); ++at_) {
    const char c = json_[at_];
    if (c == '"') {
      ++at_;
      return text;
    }
    if (static_cast<unsigned char>(c) < 0x20) {
      fail("a string must have no bare control character, but it has the byte " +
           std::to_string(static_cast<int>(c)));
    }
    if (c == '\\') {
      escape(text);
    } else {
      text += c;
    }
  }
  fail("a string must end with '\"', but the JSON ends inside it");
}

// At the backslash; leaves the position at the last character of the escape.
void JsonScanner::escape(std::string& text) {
  constexpr std::string_view kLetters = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  ++at_;
  const char letter = at_ < json_.size() ? json_[at_] : '\0';
  if (letter == 'u') {
    append_utf8(text, code_point());
    return;
  }
  const size_t index = kLetters.find(letter);
  if (index == std::string_view::npos) {
    fail("an escape must be one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u, but it is " + seen());
  }
  text += kMeanings[index];
}

// At the 'u'; leaves the position at the last hexadecimal digit.
uint32_t JsonScanner::hex4() {
  uint32_t value = 0;
  const std::string_view digits = json_.substr(std::min(at_ + 1, json_.size()), 4);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) {
    fail("\\u must be followed by four hexadecimal digits, but it is followed by " + printable(digits));
  }
  at_ += 4;
  return value;
}

uint32_t JsonScanner::code_point() {
  const uint32_t high = hex4();
  if (high < 0xD800 || high > 0xDFFF) {
    return high;
  }
  if (high <= 0xDBFF && json_.substr(at_ + 1, 2) == "\\u") {
    at_ += 2;
    if (const uint32_t low = hex4(); low >= 0xDC00 && low <= 0xDFFF) {
      return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
  }
  fail("surrogates must come as a pair of \\u escapes, but one stands alone");
}

uint64_t JsonScanner::whole_number() {
  skip_space();
  const std::string_view rest = json_.substr(at_);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  const auto length = static_cast<size_t>(end - rest.data());
  const bool leading_zero = length > 1 && rest[0] == '0';
  // from_chars stops at '.' or 'e': the caller's expect() would report them, but not as clearly
  const char next = length < rest.size() ? rest[length] : ' ';
  if (error != std::errc() || leading_zero || next == '.' || next == 'e' || next == 'E') {
    fail("a whole number from 0 to 2^64 - 1 must come next, but " + seen() + " comes");
  }
  at_ += length;
  return value;
}

}  // namespace fusegrid
