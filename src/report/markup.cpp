#include "report/markup.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "core/text.h"

namespace fusegrid {
namespace {

// A board has more columns than a page is wide and may have more rows than it is high: what is too large is scaled.
constexpr const char* kFit =
    "\\providecommand{\\fusegridfit}[1]{\\resizebox*{!}{\\ifdim\\totalheight>.8\\textheight "
    ".8\\textheight\\else\\totalheight"
    "\\fi}{\\resizebox{\\ifdim\\width>\\textwidth\\textwidth\\else\\width\\fi}{!}{#1}}}\n";

// Columns on a terminal: UTF-8 characters, each one wide.
size_t display_width(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string markdown_line(const std::vector<std::string>& cells, const MarkdownTable& table,
                          const std::vector<size_t>& widths) {
  std::string text = "|";
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string pad(widths[i] - display_width(cells[i]), ' ');
    text += table.right[i] ? " " + pad + cells[i] + " |" : " " + cells[i] + pad + " |";
  }
  return text + "\n";
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return quoted + "\"";
}

}  // namespace

std::string escape_markdown(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\|*`<>[]").find(c) != std::string_view::npos) {
      escaped += '\\';
    }
    escaped += c;
  }
  return escaped;
}

std::string markdown_table(const MarkdownTable& table) {
  std::vector<size_t> widths;
  for (size_t i = 0; i < table.header.size(); ++i) {
    widths.push_back(std::max<size_t>(3, display_width(table.header[i])));
    for (const auto& row : table.rows) {
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  }
  std::string text = markdown_line(table.header, table, widths);
  text += "|";
  for (size_t i = 0; i < widths.size(); ++i) {
    text +=
        table.right[i] ? std::string(widths[i] + 1, '-') + ":|" : ":" + std::string(widths[i] + 1, '-') + "|";
  }
  text += "\n";
  for (const auto& row : table.rows) {
    text += markdown_line(row, table, widths);
  }
  return text;
}

std::string markdown_list(const std::vector<std::string>& items, bool escaped) {
  std::string text;
  for (const std::string& item : items) {
    text += "- " + (escaped ? item : escape_markdown(item)) + "\n";
  }
  return text;
}

std::string escape_latex(const std::string& text) {
  static const std::map<char, std::string> escapes{{'\\', "\\textbackslash{}"},
                                                   {'~', "\\textasciitilde{}"},
                                                   {'^', "\\textasciicircum{}"},
                                                   {'<', "\\textless{}"},
                                                   {'>', "\\textgreater{}"},
                                                   {'|', "\\textbar{}"},
                                                   {'"', "\\textquotedbl{}"},
                                                   {'&', "\\&"},
                                                   {'%', "\\%"},
                                                   {'$', "\\$"},
                                                   {'#', "\\#"},
                                                   {'_', "\\_"},
                                                   {'{', "\\{"},
                                                   {'}', "\\}"}};
  std::string escaped;
  for (const char c : text) {
    const auto found = escapes.find(c);
    escaped += found == escapes.end() ? std::string(1, c) : found->second;
  }
  return escaped;
}

std::string latex_signs(std::string text) {
  for (size_t at = text.find("±"); at != std::string::npos; at = text.find("±")) {
    text.replace(at, std::string("±").size(), "$\\pm$");
  }
  return text;
}

std::string latex_line(const std::vector<std::string>& cells) {
  std::string text = "    ";
  for (size_t i = 0; i < cells.size(); ++i) {
    text += (i == 0 ? "" : " & ") + cells[i];
  }
  return text + " \\\\\n";
}

std::string latex_preamble() {
  return kFit;
}

std::string latex_float(const std::string& caption, const std::string& tabular) {
  return "\n\\begin{table*}[t]\n  \\centering\n  \\small\n  \\setlength{\\tabcolsep}{4pt}\n  \\caption{" +
         caption + "}\n  \\fusegridfit{" + tabular + "}\n\\end{table*}\n";
}

std::string csv_record(const std::vector<std::string>& fields) {
  std::vector<std::string> texts;
  for (const std::string& text : fields) {
    texts.push_back(csv_field(text));
  }
  return join(texts, ",") + "\n";
}

std::string csv_number(const std::optional<double>& value) {
  return value ? number_text(*value) : "";
}

}  // namespace fusegrid
