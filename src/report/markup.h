// Tables and texts of Markdown, LaTeX and CSV, whatever they are of.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fusegrid {

struct MarkdownTable {
  std::vector<std::string> header;
  std::vector<bool> right;  // columns of numbers
  std::vector<std::vector<std::string>> rows;
};
// With columns as wide as their widest cell, so that it is read on a terminal, too.
std::string markdown_table(const MarkdownTable& table);
// Text in which no character of Markdown acts.
std::string escape_markdown(const std::string& text);
std::string markdown_list(const std::vector<std::string>& items, bool escaped);

// Text in which no character of LaTeX acts.
std::string escape_latex(const std::string& text);
// The notes' signs outside ASCII, for fonts and engines of any age. After escape_latex().
std::string latex_signs(std::string text);
std::string latex_line(const std::vector<std::string>& cells);
// Defines what latex_float() needs.
std::string latex_preamble();
std::string latex_float(const std::string& caption, const std::string& tabular);

// RFC 4180: quoted where it must be.
std::string csv_record(const std::vector<std::string>& fields);
// "" where the value is absent: read as NaN by data frames.
std::string csv_number(const std::optional<double>& value);

}  // namespace fusegrid
