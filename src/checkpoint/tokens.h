#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/hf_folder.h"

namespace fusegrid {

// What the ids of a tokenizer stand for.
using Tokens = std::map<int64_t, std::string>;

// Of the tokenizer that lies beside a model: tokenizer.json, or what older libraries write (vocab.json, vocab.txt,
// SentencePiece), with the tokens that were added to it. Empty where there is none, or none in these forms: it is no
// error here, as a merge does not need it.
Tokens tokens_of(const std::filesystem::path& folder, HfFolderOptions options);

}  // namespace fusegrid
