#include "core/names.h"

#include <algorithm>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr size_t kLongest = 100;  // file systems take 255 bytes with all endings that we add

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

void check_name(const std::string& text, const std::string& what) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
  });
  if (!plain || text.empty() || text.size() > kLongest || !is_letter_or_digit(text.front())) {
    throw ConfigError(what + " must have 1 to " + std::to_string(kLongest) +
                      " letters, digits, '.', '_' and '-' and begin with a letter or digit, but it is '" +
                      text + "'; choose another name");
  }
}

void check_task_name(const std::string& text, const std::string& what) {
  check_name(text, what);
  const bool number = text.find_first_not_of("0123456789") == std::string::npos;
  if (number || text == "all" || text.find("..") != std::string::npos) {
    throw ConfigError(
        what +
        " must not be a number, 'all' or have '..' in it, which choose experts in a job file, but "
        "it is '" +
        text + "'; choose another name");
  }
}

}  // namespace fusegrid
