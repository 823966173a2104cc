#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace fusegrid {

enum class ColumnType { kText, kInt, kUnsigned, kReal };

struct ColumnSpec {
  std::string name;
  ColumnType type;
  bool operator==(const ColumnSpec&) const = default;
};

using Value = std::variant<std::string, int64_t, uint64_t, double>;

// Rows under declared columns, kept column by column.
class Table {
 public:
  explicit Table(std::vector<ColumnSpec> columns);
  const std::vector<ColumnSpec>& columns() const { return columns_; }
  size_t num_rows() const { return num_rows_; }
  // One value per column, of the column's type. Every NaN is stored as the same quiet NaN, so that equal
  // tables have equal bits.
  void add(const std::vector<Value>& row);
  const std::string& text(size_t row, const std::string& column) const;
  int64_t integer(size_t row, const std::string& column) const;
  uint64_t unsigned_integer(size_t row, const std::string& column) const;
  double real(size_t row, const std::string& column) const;
  Value value(size_t row, size_t column) const;

 private:
  using Values = std::variant<std::vector<std::string>, std::vector<int64_t>, std::vector<uint64_t>,
                              std::vector<double>>;
  const Values& column(const std::string& name) const;
  std::vector<ColumnSpec> columns_;
  std::vector<Values> values_;
  size_t num_rows_ = 0;
};

// Bits of reals, so that NaN equals NaN.
bool same_value(const Value& a, const Value& b);
// "" where both are the same, else the first difference in words.
std::string first_difference(const Table& expected, const Table& actual);

// Valid UTF-8 without NUL of at most `max_bytes`, cut at a character: bytes that are no UTF-8 become '?'.
std::string clean_text(const std::string& text, size_t max_bytes);

}  // namespace fusegrid
