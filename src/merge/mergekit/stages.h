// The documents of a file of mergekit in the order in which they can be merged: what mergekit-multi makes of it.
#pragma once

#include <filesystem>
#include <vector>

#include "merge/mergekit/translate.h"

namespace fusegrid::mergekit {

struct Stage {
  Document document;
  std::filesystem::path out;
};

struct Stages {
  std::vector<Stage> order;  // each behind those whose results it reads
  MadeModels made;           // where the results of documents with a name go
};

// The document without a name makes `out`, one with a name `out`.NAME, and is a model of that name in others. Throws
// ConfigError with the line: what parse_document() and check_document() find in any of them, two documents of one name
// or without one, none without a name, documents that need each other.
Stages read_stages(const std::filesystem::path& file, const std::filesystem::path& out);

}  // namespace fusegrid::mergekit
