#include "cli/print.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

bool looks_like_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.,-+%") == std::string::npos;
}

std::string one_decimal(double value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return buffer.data();
}

std::string padded(const std::string& text, size_t width, bool right) {
  const std::string spaces(width - std::min(width, text.size()), ' ');
  return right ? spaces + text : text + spaces;
}

}  // namespace

std::string TextTable::text(bool with_header) const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string text;
  for (size_t i = with_header ? 0 : 1; i < rows_.size(); ++i) {
    std::string line;
    for (size_t column = 0; column < rows_[i].size(); ++column) {
      const std::string& entry = rows_[i][column];
      const std::string& first = rows_[std::min<size_t>(1, rows_.size() - 1)][column];
      const bool right = looks_like_number(i == 0 ? first : entry);
      line += (column == 0 ? "" : "  ") + padded(entry, widths[column], right);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string TextTable::markdown() const {
  const auto line = [](const std::vector<std::string>& row) {
    std::string text = "|";
    for (std::string entry : row) {
      for (size_t at = 0; (at = entry.find('|', at)) != std::string::npos; at += 2) {
        entry.replace(at, 1, "\\|");
      }
      text += " " + entry + " |";
    }
    return text + "\n";
  };
  std::string text = line(rows_.front());
  text += line(std::vector<std::string>(rows_.front().size(), "---"));
  for (size_t i = 1; i < rows_.size(); ++i) {
    text += line(rows_[i]);
  }
  return text;
}

std::string duration_text(double seconds) {
  if (seconds < 10) {
    return one_decimal(seconds) + " s";
  }
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  if (whole < 60) {
    return number_text(whole) + " s";
  }
  if (whole < 3600) {
    return number_text(whole / 60) + " min " + number_text(whole % 60) + " s";
  }
  return number_text(whole / 3600) + " h " + number_text(whole % 3600 / 60) + " min";
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1024) {
    return number_text(bytes) + " B";
  }
  auto value = static_cast<double>(bytes);
  for (const char* unit : {" KiB", " MiB", " GiB"}) {
    value /= 1024;
    if (value < 1024 || std::string(unit) == " GiB") {
      return one_decimal(value) + unit;
    }
  }
  return "";
}

int64_t parse_bytes(const std::string& text, const std::string& option) {
  static const std::map<std::string, double> units{
      {"", 1},         {"B", 1},        {"KB", 1e3},     {"MB", 1e6},    {"GB", 1e9},
      {"TB", 1e12},    {"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},  {"T", 0x1p40},
      {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  const auto digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto unit = units.find(text.substr(digits));
  if (digits == 0 || unit == units.end()) {
    throw UsageError(option + " must be a number with a unit, such as 500MB, 4G or 2GiB, but it is '" + text +
                     "'");
  }
  const double bytes = parse_double(text.substr(0, digits), option) * unit->second;
  if (!(bytes >= 1 && bytes < 0x1p50)) {
    throw UsageError(option + " must be between 1 byte and 1024TiB, but it is '" + text + "'");
  }
  return static_cast<int64_t>(std::llround(bytes));
}

std::string shell_quoted(const std::string& text) {
  const std::string plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) {
    return text;
  }
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return quoted + "'";
}

std::string wrap(const std::string& text, size_t width) {
  std::string wrapped;
  for (const auto& paragraph : split(text, '\n')) {
    std::istringstream words(paragraph);
    std::string line;
    for (std::string word; words >> word;) {
      if (!line.empty() && line.size() + 1 + word.size() > width) {
        wrapped += line + "\n";
        line.clear();
      }
      line += (line.empty() ? "" : " ") + word;
    }
    wrapped += line + "\n";
  }
  return wrapped;
}

}  // namespace fusegrid
