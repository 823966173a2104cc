// Tokenizers, chat templates and generation settings of the models of a merge.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "merge/small_files.h"

namespace fusegrid {

// A model of the merge, and the folder with its small files.
struct TokenizerOwner {
  std::string name;
  std::filesystem::path folder;
};

// What a user should hear: experts whose ids stand for other tokens than the reference's, and experts that chat or end
// their turns otherwise than the reference, whose tokenizer the result has.
//   from  the expert whose tokenizer the result has; none: the reference's
std::vector<std::string> tokenizer_notes(const TokenizerOwner& reference,
                                         const std::vector<TokenizerOwner>& experts,
                                         const std::optional<std::string>& from, HfFolderOptions options);

// Puts tokenizer, chat templates and generation settings of the expert in the place of the reference's, and the ids of
// special tokens into `config`.
//   rows    of the result's embedding
//   Throws  ConfigError where the expert has no tokenizer, or one with more tokens than the result has rows
void take_tokenizer(const TokenizerOwner& expert, std::optional<int64_t> rows, HfFolderOptions options,
                    SmallFiles& small, nlohmann::json& config);

// The files of `owner`, already among `small`, with tokens more: behind the others, in tokenizer.json.
//   added   entries as tokenizer.json has them, with their ids
//   Throws  ConfigError where there is no tokenizer.json
void add_tokens(const TokenizerOwner& owner, const std::vector<nlohmann::json>& added,
                HfFolderOptions options, SmallFiles& small);

// Puts a chat template in the place of all that the tokenizer in `small` has.
//   text    the template, or "auto": what most of `models` have, of equally many the first
//   Throws  ConfigError where there is no tokenizer, or no model has a template
void set_chat_template(const std::string& text, const std::vector<TokenizerOwner>& models,
                       HfFolderOptions options, SmallFiles& small);

}  // namespace fusegrid
