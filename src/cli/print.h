// Small pieces of text that subcommands print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusegrid {

// Columns as wide as their widest entry; numbers right-aligned.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.size() == 1; }
  std::string text(bool with_header = true) const;
  // The same as a table of Markdown.
  std::string markdown() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string duration_text(double seconds);  // "0.4 s", "12 s", "3 min 5 s", "2 h 4 min"
std::string bytes_text(int64_t bytes);      // "832 B", "1.2 MiB", "3.4 GiB"
// The other way round, of an option's value: "4096", "500MB" (500,000,000), "2GiB" and "2G" (2^31). UsageError.
int64_t parse_bytes(const std::string& text, const std::string& option);
std::string shell_quoted(const std::string& text);  // safe in a POSIX shell; plain words stay plain
// Breaks paragraphs (separated by newlines) into lines of at most `width` characters.
std::string wrap(const std::string& text, size_t width);

}  // namespace fusegrid
