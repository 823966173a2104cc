#include "coordinator/command_keys.h"

#include <algorithm>
#include <utility>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr int64_t kLongestTimeout = 604800;  // a week

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

bool names_request(const std::string& word) {
  return word.find(kRequestWord) != std::string::npos;
}

}  // namespace

LineValue line_value(const std::string& text) {
  LineValue value;
  bool in_word = false;
  char quote = '\0';
  size_t end = 0;
  for (; end < text.size() && (quote != '\0' || text[end] != '#'); ++end) {
    const char c = text[end];
    if (quote == '\0' && is_space(c)) {
      in_word = false;
      continue;
    }
    if (!std::exchange(in_word, true)) {
      value.words.emplace_back();
    }
    if (quote == '"' && c == '\\' && end + 1 < text.size() &&
        (text[end + 1] == '"' || text[end + 1] == '\\')) {
      value.words.back() += text[++end];
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote != '\0' && c == quote) {
      quote = '\0';
    } else {
      value.words.back() += c;
    }
  }
  value.text = trim(text.substr(0, end));
  if (quote != '\0') {
    throw ConfigError("a quote that begins must end on its line, but " + std::string(1, quote) +
                      " has no end in: " + value.text);
  }
  return value;
}

const std::string& single_word(const std::string& key, const LineValue& value) {
  if (value.words.size() != 1) {
    throw ConfigError("'" + key + "' takes a single value, but it is '" + value.text +
                      "'; put a value with spaces in quotes");
  }
  return value.words.front();
}

int64_t whole_within(const std::string& key, const LineValue& value, int64_t least, int64_t most) {
  const std::string& text = single_word(key, value);
  const int64_t number = parse_int(text, "'" + key + "'");
  if (number < least || number > most) {
    throw ConfigError("'" + key + "' must lie in [" + number_text(least) + ", " + number_text(most) +
                      "], but it is " + text);
  }
  return number;
}

KeyLine read_key_line(const std::string& line, const std::string& section,
                      const std::vector<std::string>& known) {
  const size_t equals = line.find('=');
  if (equals == std::string::npos) {
    throw ConfigError("'" + trim(line) + "' is neither 'key = value' nor '[method]'");
  }
  KeyLine read{trim(line.substr(0, equals)), {}};
  if (std::find(known.begin(), known.end(), read.key) == known.end()) {
    throw ConfigError("[" + section + "] has no key '" + read.key + "'" + alternatives(read.key, known));
  }
  read.value = line_value(line.substr(equals + 1));
  if (read.value.words.empty()) {
    throw ConfigError("'" + read.key + "' has no value");
  }
  return read;
}

bool read_command_key(const KeyLine& line, const std::string& example, UserCommand& command) {
  if (line.key == "timeout_s") {
    command.timeout_s = whole_within(line.key, line.value, 1, kLongestTimeout);
    return true;
  }
  if (line.key != "command") {
    return false;
  }
  if (std::none_of(line.value.words.begin(), line.value.words.end(), names_request)) {
    throw ConfigError("'command' must have " + std::string(kRequestWord) +
                      " where the command takes the file that says what is asked for, but it is '" +
                      line.value.text + "'; write 'command = " + example + " " + kRequestWord + "'");
  }
  command.text = line.value.text;
  command.words = line.value.words;
  return true;
}

std::map<std::string, std::string> command_bindings(const UserCommand& command, const std::string& prefix) {
  std::map<std::string, std::string> bindings{{prefix + "command", command.text}};
  for (const auto& [file, sha256] : command.files) {
    bindings[prefix + "file " + file] = sha256;
  }
  return bindings;
}

}  // namespace fusegrid
