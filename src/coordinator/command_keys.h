// What the sections of a job that have commands share: lines whose value is the rest of the line.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/user_command.h"

namespace fusegrid {

// The value of a key that takes the rest of its line.
struct LineValue {
  std::string text;  // without a comment
  // Separated by spaces. '...' keeps everything as it is; "..." keeps all but \" and \\, which stand for " and \. A '#'
  // outside of both begins a comment.
  std::vector<std::string> words;
};
// ConfigError where a quote has no end.
LineValue line_value(const std::string& text);

struct KeyLine {
  std::string key;
  LineValue value;  // has a word
};
// Reads "key = value" of a section. ConfigError, without a place, where it is none, or the key none of those known.
KeyLine read_key_line(const std::string& line, const std::string& section,
                      const std::vector<std::string>& known);

// What a value must be, else ConfigError naming the key: one word; a whole number within [least, most].
const std::string& single_word(const std::string& key, const LineValue& value);
int64_t whole_within(const std::string& key, const LineValue& value, int64_t least, int64_t most);

// Reads the keys of commands, "command" and "timeout_s"; false where it is another one. ConfigError where their value
// is none that they can have.
//   example  of a command, without its request, for messages: "python3 my_merge.py"
bool read_command_key(const KeyLine& line, const std::string& example, UserCommand& command);

// What the result of a command rests on: its text, and the digests of the files that it names.
std::map<std::string, std::string> command_bindings(const UserCommand& command,
                                                    const std::string& prefix = "");

}  // namespace fusegrid
