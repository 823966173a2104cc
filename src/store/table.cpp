#include "store/table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

std::string value_text(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    return "'" + *text + "'";
  }
  if (const auto* real = std::get_if<double>(&value)) {
    return number_text(*real);
  }
  return std::holds_alternative<int64_t>(value) ? std::to_string(std::get<int64_t>(value))
                                                : std::to_string(std::get<uint64_t>(value));
}

// Length of the UTF-8 character at `at`, 0 where there is none.
size_t character_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t first = byte(at);
  if (first < 0x80) {
    return first == 0 ? 0 : 1;
  }
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  const uint8_t second = byte(at + 1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool outside = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  return overlong || outside ? 0 : length;
}

}  // namespace

Table::Table(std::vector<ColumnSpec> columns) : columns_(std::move(columns)) {
  for (const auto& column : columns_) {
    switch (column.type) {
      case ColumnType::kText:
        values_.emplace_back(std::vector<std::string>());
        break;
      case ColumnType::kInt:
        values_.emplace_back(std::vector<int64_t>());
        break;
      case ColumnType::kUnsigned:
        values_.emplace_back(std::vector<uint64_t>());
        break;
      case ColumnType::kReal:
        values_.emplace_back(std::vector<double>());
        break;
    }
  }
}

void Table::add(const std::vector<Value>& row) {
  FUSEGRID_ASSERT(row.size() == columns_.size(), "a row has the wrong number of values");
  for (size_t i = 0; i < row.size(); ++i) {
    FUSEGRID_ASSERT(row[i].index() == values_[i].index(), "column " + columns_[i].name + " has another type");
    std::visit(
        [&](auto& values) {
          using T = typename std::decay_t<decltype(values)>::value_type;
          T value = std::get<T>(row[i]);
          if constexpr (std::is_same_v<T, double>) {
            value = std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
          }
          values.push_back(std::move(value));
        },
        values_[i]);
  }
  ++num_rows_;
}

const Table::Values& Table::column(const std::string& name) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].name == name) {
      return values_[i];
    }
  }
  FUSEGRID_ASSERT(false, "no column " + name);
}

const std::string& Table::text(size_t row, const std::string& column_name) const {
  return std::get<std::vector<std::string>>(column(column_name)).at(row);
}
int64_t Table::integer(size_t row, const std::string& column_name) const {
  return std::get<std::vector<int64_t>>(column(column_name)).at(row);
}
uint64_t Table::unsigned_integer(size_t row, const std::string& column_name) const {
  return std::get<std::vector<uint64_t>>(column(column_name)).at(row);
}
double Table::real(size_t row, const std::string& column_name) const {
  return std::get<std::vector<double>>(column(column_name)).at(row);
}
Value Table::value(size_t row, size_t column_index) const {
  return std::visit([&](const auto& values) { return Value(values.at(row)); }, values_.at(column_index));
}

bool same_value(const Value& a, const Value& b) {
  if (std::holds_alternative<double>(a) && std::holds_alternative<double>(b)) {
    return std::bit_cast<uint64_t>(std::get<double>(a)) == std::bit_cast<uint64_t>(std::get<double>(b));
  }
  return a == b;
}

std::string first_difference(const Table& expected, const Table& actual) {
  if (expected.columns() != actual.columns()) {
    return "other columns";
  }
  for (size_t row = 0; row < std::min(expected.num_rows(), actual.num_rows()); ++row) {
    for (size_t column = 0; column < expected.columns().size(); ++column) {
      const Value wanted = expected.value(row, column);
      const Value seen = actual.value(row, column);
      if (!same_value(wanted, seen)) {
        return "row " + std::to_string(row) + ", column " + expected.columns()[column].name + ": " +
               value_text(wanted) + " in the journal, " + value_text(seen) + " in the file";
      }
    }
  }
  if (expected.num_rows() != actual.num_rows()) {
    return std::to_string(expected.num_rows()) + " rows in the journal, " +
           std::to_string(actual.num_rows()) + " in the file";
  }
  return {};
}

std::string clean_text(const std::string& text, size_t max_bytes) {
  std::string clean;
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    if (clean.size() + std::max<size_t>(length, 1) > max_bytes) {
      break;
    }
    clean += length == 0 ? std::string("?") : text.substr(at, length);
    at += std::max<size_t>(length, 1);
  }
  return clean;
}

}  // namespace fusegrid
