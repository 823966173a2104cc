#include "merge/tokenizers.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lossless_json.h"
#include "checkpoint/tokens.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxSettingsBytes = uint64_t{64} << 20;
constexpr size_t kMostNames = 4;
const std::vector<std::string> kTemplateFiles{"chat_template.jinja", "chat_template.json"};
const std::vector<std::string> kTemplateFolders{"additional_chat_templates", "chat_templates"};

// Files that say how text becomes ids and a conversation text, and how answers are drawn.
bool is_tokenizers(const std::string& file) {
  static const std::set<std::string> file_names{"added_tokens.json",
                                                "bpe.codes",
                                                "chat_template.jinja",
                                                "chat_template.json",
                                                "generation_config.json",
                                                "merges.txt",
                                                "normalizer.json",
                                                "special_tokens_map.json",
                                                "tekken.json",
                                                "tokenizer.json",
                                                "tokenizer_config.json",
                                                "vocab.json",
                                                "vocab.txt",
                                                "source.spm",
                                                "target.spm"};
  const fs::path path(file);
  if (path.has_parent_path()) {
    return std::find(kTemplateFolders.begin(), kTemplateFolders.end(), path.begin()->string()) !=
           kTemplateFolders.end();
  }
  return file_names.contains(file) || path.extension() == ".model" || path.extension() == ".tiktoken" ||
         (file.starts_with("tokenization_") && path.extension() == ".py");
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

nlohmann::json json_of(const ContainedFolder& folder, const std::string& name) {
  return folder.contains(name) ? folder.read_json(name, kMaxSettingsBytes) : nlohmann::json();
}

nlohmann::json entry(const nlohmann::json& json, const std::string& key) {
  return json.is_object() && json.contains(key) ? json[key] : nlohmann::json();
}

// All that says how a conversation is written; "" where nothing does.
std::string chat_template(const ContainedFolder& folder) {
  const nlohmann::json inside = entry(json_of(folder, "tokenizer_config.json"), "chat_template");
  std::string text = inside.is_null() ? "" : inside.is_string() ? inside.get<std::string>() : inside.dump();
  for (const std::string& name : kTemplateFiles) {
    if (folder.contains(name)) {
      const fs::path file = folder.resolve(name);
      const std::string other =
          name.ends_with(".json") ? entry(json_of(folder, name), "chat_template").dump() : read(file);
      text += other == text ? "" : other;  // tokenizer_config.json may repeat it
    }
  }
  return text;
}

// The ids that end an answer: what generation_config.json says, or else config.json.
nlohmann::json ends_of_turn(const ContainedFolder& folder) {
  const nlohmann::json said = entry(json_of(folder, "generation_config.json"), "eos_token_id");
  const nlohmann::json ends = said.is_null() ? entry(json_of(folder, "config.json"), "eos_token_id") : said;
  return ends.is_number() ? nlohmann::json::array({ends}) : ends;
}

// "'a' and 'b' have", "'a' has"
std::string have(const std::vector<std::string>& names) {
  return "'" + some_names(names, kMostNames) + "' " + (names.size() == 1 ? "has" : "have");
}

bool same_file(const fs::path& a, const fs::path& b, const std::string& name) {
  std::error_code error;
  return fs::exists(a / name, error) && fs::exists(b / name, error) &&
         fs::file_size(a / name, error) == fs::file_size(b / name, error) && read(a / name) == read(b / name);
}

// How the tokens of `expert` differ from those of `reference`.
std::optional<std::string> tokens_differ(const TokenizerOwner& reference, const Tokens& ours,
                                         const TokenizerOwner& expert, HfFolderOptions options) {
  if (ours.empty() || same_file(reference.folder, expert.folder, "tokenizer.json")) {
    return std::nullopt;
  }
  const Tokens theirs = tokens_of(expert.folder, options);
  if (theirs.empty()) {
    return std::nullopt;
  }
  std::set<int64_t> ids;
  for (const Tokens* tokens : {&ours, &theirs}) {
    for (const auto& [id, token] : *tokens) {
      ids.insert(id);
    }
  }
  const auto token_of = [](const Tokens& tokens, int64_t id) {
    const auto it = tokens.find(id);
    return it == tokens.end() ? std::nullopt : std::optional(it->second);
  };
  const auto text_of = [](const std::optional<std::string>& token) {
    return token ? printable(*token) : "none";
  };
  int64_t others = 0;
  std::string example;
  for (const int64_t id : ids) {
    const auto own = token_of(ours, id);
    const auto other = token_of(theirs, id);
    if (own != other && ++others == 1) {
      example = "id " + std::to_string(id) + " is " + text_of(other) + " in '" + expert.name + "' and " +
                text_of(own) + " in '" + reference.name + "'";
    }
  }
  if (others == 0) {
    return std::nullopt;
  }
  return "the tokenizers of '" + expert.name + "' and '" + reference.name + "' differ in " +
         std::to_string(others) + " of " + std::to_string(ids.size()) +
         (ids.size() == 1 ? " token: " : " tokens: ") + example +
         "; rows of the embedding that stand for other tokens are merged with each other";
}

}  // namespace

std::vector<std::string> tokenizer_notes(const TokenizerOwner& reference,
                                         const std::vector<TokenizerOwner>& experts,
                                         const std::optional<std::string>& from, HfFolderOptions options) {
  std::vector<std::string> notes;
  const Tokens ours = tokens_of(reference.folder, options);
  const ContainedFolder own(reference.folder, options.allow_symlinks, options.follow_links);
  const std::string own_template = chat_template(own);
  const nlohmann::json own_end = ends_of_turn(own);
  std::vector<std::string> chat;
  std::vector<std::string> end;
  for (const TokenizerOwner& expert : experts) {
    std::error_code error;
    if (!fs::is_directory(expert.folder, error) || fs::equivalent(expert.folder, reference.folder, error)) {
      continue;  // on another rank's disk
    }
    if (auto note = tokens_differ(reference, ours, expert, options)) {
      notes.push_back(std::move(*note));
    }
    const ContainedFolder folder(expert.folder, options.allow_symlinks, options.follow_links);
    const std::string theirs = chat_template(folder);
    const nlohmann::json ends = ends_of_turn(folder);
    if (!theirs.empty() && theirs != own_template) {
      chat.push_back(expert.name);
    } else if (!ends.is_null() && ends != own_end) {
      end.push_back(expert.name);
    }
  }
  if (from || (chat.empty() && end.empty())) {
    return notes;
  }
  const std::string& first = chat.empty() ? end.front() : chat.front();
  notes.push_back(
      (chat.empty()
           ? have(end) + " other end-of-turn tokens (eos_token_id) than '" + reference.name + "'"
           : have(chat) + (own_template.empty() ? " a chat template and '" + reference.name + "' has none"
                                                : " another chat template than '" + reference.name + "'")) +
      "; the result has the tokenizer, template and generation settings of '" + reference.name +
      "', and --tokenizer-from " + first + " takes those of '" + first + "'");
  return notes;
}

void take_tokenizer(const TokenizerOwner& expert, std::optional<int64_t> rows, HfFolderOptions options,
                    SmallFiles& small, nlohmann::json& config) {
  std::error_code error;
  if (!fs::is_directory(expert.folder, error)) {
    throw ConfigError("--tokenizer-from needs the folder of '" + expert.name + "' on every rank, but '" +
                      expert.folder.string() + "' is not there; copy its small files");
  }
  const SmallFiles theirs = small_files_of(expert.folder, options, {});
  const bool any = std::any_of(theirs.files.begin(), theirs.files.end(), [](const auto& file) {
    return is_tokenizers(file.first) && file.first != "generation_config.json";
  });
  if (!any) {
    throw ConfigError("--tokenizer-from must name an expert with a tokenizer or a chat template, but '" +
                      expert.folder.string() + "' has neither; name another, or leave it out");
  }
  const Tokens tokens = tokens_of(expert.folder, options);
  if (rows && !tokens.empty() && tokens.rbegin()->first >= *rows) {
    throw ConfigError(
        "the result must have a row for each token, but the tokenizer of '" + expert.name + "' has " +
        printable(tokens.rbegin()->second) + " as id " + std::to_string(tokens.rbegin()->first) +
        " and the embedding of the result " + std::to_string(*rows) +
        " rows; resize the base before (resize_token_embeddings), or leave --tokenizer-from out");
  }
  std::erase_if(small.files, [](const auto& file) { return is_tokenizers(file.first); });
  for (const auto& [name, path] : theirs.files) {
    if (is_tokenizers(name)) {
      small.files.insert_or_assign(name, path);
    }
  }
  const nlohmann::json own =
      json_of(ContainedFolder(expert.folder, options.allow_symlinks, options.follow_links), "config.json");
  for (const std::string key : {"bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id",
                                "mask_token_id", "sep_token_id", "unk_token_id"}) {
    if (own.is_object() && own.contains(key)) {
      config[key] = own[key];
    }
  }
}

namespace {

// A settings file that goes with the result; null where there is none.
nlohmann::json settings(const SmallFiles& small, const std::string& name) {
  if (const auto made = small.made.find(name); made != small.made.end()) {
    return parse_lossless(made->second, name);
  }
  const auto file = small.files.find(name);
  return file == small.files.end() ? nlohmann::json()
                                   : parse_lossless(read(file->second), file->second.string());
}

// The one that a model chats by; "" where it has none.
std::string default_template(const ContainedFolder& folder) {
  if (folder.contains("chat_template.jinja")) {
    return read(folder.resolve("chat_template.jinja"));
  }
  const nlohmann::json inside = entry(json_of(folder, "tokenizer_config.json"), "chat_template");
  if (inside.is_string()) {
    return inside.get<std::string>();
  }
  for (const auto& [key, named] : inside.items()) {  // [{"name": "default", "template": "..."}]
    if (entry(named, "name") == "default" && entry(named, "template").is_string()) {
      return named["template"].get<std::string>();
    }
  }
  return "";
}

std::string most_frequent_template(const std::vector<TokenizerOwner>& models, HfFolderOptions options) {
  std::vector<std::pair<std::string, int>> counts;  // in the order of the models
  for (const TokenizerOwner& model : models) {
    const std::string text =
        trim(default_template(ContainedFolder(model.folder, options.allow_symlinks, options.follow_links)));
    const auto it =
        std::find_if(counts.begin(), counts.end(), [&](const auto& known) { return known.first == text; });
    if (it != counts.end()) {
      ++it->second;
    } else if (!text.empty()) {
      counts.emplace_back(text, 1);
    }
  }
  const auto most = std::max_element(counts.begin(), counts.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? "" : most->first;
}

}  // namespace

void add_tokens(const TokenizerOwner& owner, const std::vector<nlohmann::json>& added, HfFolderOptions,
                SmallFiles& small) {
  nlohmann::json tokenizer = settings(small, "tokenizer.json");
  if (!tokenizer.is_object()) {
    throw ConfigError("tokens can be added to a tokenizer.json, but '" + owner.folder.string() +
                      "' has none; save its tokenizer with transformers (AutoTokenizer, save_pretrained)");
  }
  nlohmann::json config = settings(small, "tokenizer_config.json");
  for (const nlohmann::json& token : added) {
    tokenizer["added_tokens"].push_back(token);
    if (config.is_object() && config.contains("added_tokens_decoder")) {
      nlohmann::json entry = token;
      entry.erase("id");
      config["added_tokens_decoder"][std::to_string(token.at("id").get<int64_t>())] = entry;
    }
  }
  small.made["tokenizer.json"] = dump_lossless(tokenizer, 2) + "\n";
  if (config.is_object()) {
    small.made["tokenizer_config.json"] = dump_lossless(config, 2) + "\n";
  }
}

void set_chat_template(const std::string& text, const std::vector<TokenizerOwner>& models,
                       HfFolderOptions options, SmallFiles& small) {
  const std::string chosen = text == "auto" ? most_frequent_template(models, options) : text;
  if (chosen.empty()) {
    throw ConfigError(
        "a chat template that is 'auto' must be one of the models', but none of them has one; write its "
        "text, or leave it out");
  }
  nlohmann::json config = settings(small, "tokenizer_config.json");
  if (!config.is_object()) {
    throw ConfigError(
        "a chat template belongs to a tokenizer, but the result has no tokenizer_config.json; leave the "
        "template out, or add the file to the base");
  }
  config.erase("chat_template");
  std::erase_if(small.files, [](const auto& file) {
    const fs::path path(file.first);
    const auto is_in = [](const std::vector<std::string>& names, const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    return is_in(kTemplateFiles, file.first) ||
           (path.has_parent_path() && is_in(kTemplateFolders, path.begin()->string()));
  });
  small.made["tokenizer_config.json"] = dump_lossless(config, 2) + "\n";
  small.made["chat_template.jinja"] = chosen;
}

}  // namespace fusegrid
