#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fusegrid {

// `text` in quotes for messages: shortened, control characters replaced.
std::string printable(std::string_view text, size_t max_bytes = 80);

// Reads JSON token by token where the caller knows what must come next: no tree, no recursion, whole numbers
// exact. White space between tokens is skipped. Every member but accept() throws DataError, which begins with
// `context` and names the byte, the rule and the value seen.
class JsonScanner {
 public:
  // Throws where `json` is not UTF-8. `json` must outlive the scanner.
  JsonScanner(std::string_view json, std::string context);

  void expect_first(char token);  // `token` is the very first byte
  void expect(char token);
  bool accept(char token);     // whether `token` comes next; if so, steps over it
  bool next_item(char close);  // behind an item of a list: ',' -> true, `close` -> false
  std::string string();
  std::string key();        // a string and ':'
  uint64_t whole_number();  // without sign, fraction, exponent and leading zeros, below 2^64
  void expect_end();        // nothing but white space remains

  [[noreturn]] void fail(const std::string& message) const;

 private:
  void skip_space();
  std::string seen() const;
  void escape(std::string& text);
  uint32_t hex4();
  uint32_t code_point();

  std::string_view json_;
  std::string context_;
  size_t at_ = 0;
};

}  // namespace fusegrid
