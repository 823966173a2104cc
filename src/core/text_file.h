#pragma once

#include <filesystem>
#include <string>

namespace fusegrid {

// The whole text of a file that a person wrote, without a byte order mark of UTF-8.
//   what   for messages: "job file"
//   Throws ConfigError: there is no such file, or it is no text (UTF-16, zero bytes, more than 16 MiB);
//          IoError: it cannot be read.
std::string read_text_file(const std::filesystem::path& file, const std::string& what);

}  // namespace fusegrid
