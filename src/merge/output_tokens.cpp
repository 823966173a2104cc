#include <set>

#include "checkpoint/contained_folder.h"
#include "checkpoint/tokens.h"
#include "core/errors.h"
#include "merge/aligned_vocabulary.h"

namespace fusegrid {
namespace {

constexpr uint64_t kMaxTokenizerBytes = uint64_t{256} << 20;

nlohmann::json plain_token(const std::string& text) {
  return {{"content", text}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", true},   {"special", false}};
}

// The tokens that were added to the tokenizer of a folder, by id, as tokenizer.json has them.
std::map<int64_t, nlohmann::json> added_tokens(const std::filesystem::path& path, HfFolderOptions options) {
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  std::map<int64_t, nlohmann::json> added;
  if (folder.contains("tokenizer.json")) {
    const nlohmann::json whole = folder.read_json("tokenizer.json", kMaxTokenizerBytes);
    const nlohmann::json tokens = whole.value("added_tokens", nlohmann::json::array());
    for (const nlohmann::json& token : tokens) {
      added.emplace(token.at("id").get<int64_t>(), token);
    }
  }
  return added;
}

class Union {
 public:
  Union(OutputTokens& result, HfFolderOptions options) : result_(result), options_(options) {
    known_.insert(result.tokens.begin(), result.tokens.end());
  }

  void add(nlohmann::json token) {
    const auto text = token.at("content").get<std::string>();
    if (known_.insert(text).second) {
      token["id"] = static_cast<int64_t>(result_.tokens.size());
      result_.tokens.push_back(text);
      result_.added.push_back(std::move(token));
    }
  }

  void add_models(const std::vector<std::filesystem::path>& folders) {
    std::vector<nlohmann::json> later;
    for (const std::filesystem::path& folder : folders) {
      const auto added = added_tokens(folder, options_);
      for (const auto& [id, text] : tokens_of(folder, options_)) {
        if (const auto entry = added.find(id); entry != added.end()) {
          later.push_back(entry->second);
        } else {
          add(plain_token(text));
        }
      }
    }
    for (nlohmann::json& token : later) {
      add(std::move(token));
    }
  }

 private:
  OutputTokens& result_;
  HfFolderOptions options_;
  std::set<std::string> known_;
};

}  // namespace

OutputTokens output_tokens(const VocabularySpec& spec, HfFolderOptions options) {
  OutputTokens result;
  result.folder = spec.model.value_or(spec.models.front());
  for (const auto& [id, text] : tokens_of(result.folder, options)) {
    if (id != static_cast<int64_t>(result.tokens.size())) {
      throw ConfigError(
          "the ids of a tokenizer must have no gaps where its vocabulary is the result's, but '" +
          result.folder.string() + "' has no token " + std::to_string(result.tokens.size()) +
          "; choose the tokenizer of another model");
    }
    result.tokens.push_back(text);
  }
  if (result.tokens.empty()) {
    throw ConfigError(
        "'" + result.folder.string() +
        "' must have a tokenizer (tokenizer.json), as its vocabulary is the result's, but it has none");
  }
  Union more(result, options);
  if (!spec.model) {
    more.add_models(spec.models);
  }
  for (const TokenRule& rule : spec.rules) {
    more.add(plain_token(rule.token));
  }
  const auto count = static_cast<int64_t>(result.tokens.size());
  const int64_t rest = count % spec.pad_to_multiple_of;
  result.rows = rest == 0 ? count : count + spec.pad_to_multiple_of - rest;
  return result;
}

}  // namespace fusegrid
