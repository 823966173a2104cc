#include "checkpoint/tokens.h"

#include <charconv>
#include <optional>
#include <sstream>
#include <string_view>

#include <nlohmann/json.hpp>

#include "checkpoint/contained_folder.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{256} << 20;

// The JSON of a file; null where there is none, or where it is damaged: other readers will say so.
nlohmann::json json_of(const ContainedFolder& folder, const std::string& name) {
  try {
    return folder.contains(name) ? folder.read_json(name, kMaxBytes) : nlohmann::json();
  } catch (const DataError&) {
    return {};
  }
}

std::optional<std::string> text_of(const ContainedFolder& folder, const std::string& name) {
  if (!folder.contains(name)) {
    return std::nullopt;
  }
  const PosixFile file = folder.open(name);
  if (file.size() > kMaxBytes) {
    return std::nullopt;
  }
  std::string text(file.size(), '\0');
  file.read_at(0, text.data(), text.size());
  return text;
}

// {token: id}
void add_ids(const nlohmann::json& json, Tokens& tokens) {
  if (json.is_object()) {
    for (const auto& [token, id] : json.items()) {
      if (id.is_number_integer()) {
        tokens.insert_or_assign(id.get<int64_t>(), token);
      }
    }
  }
}

// [{"id": 7, "content": "<pad>"}], or {"7": {"content": "<pad>"}}
void add_added(const nlohmann::json& json, Tokens& tokens) {
  if (!json.is_structured()) {
    return;
  }
  for (const auto& [key, token] : json.items()) {
    if (!token.is_object() || !token.contains("content") || !token["content"].is_string()) {
      continue;
    }
    int64_t id = -1;
    if (json.is_object()) {
      std::from_chars(key.data(), key.data() + key.size(), id);
    } else if (token.contains("id") && token["id"].is_number_integer()) {
      id = token["id"].get<int64_t>();
    }
    if (id >= 0) {
      tokens.insert_or_assign(id, token["content"].get<std::string>());
    }
  }
}

// The vocabulary of tokenizer.json: {token: id} or, of a Unigram model, [[token, score]].
void add_vocabulary(const nlohmann::json& json, Tokens& tokens) {
  add_ids(json, tokens);
  if (json.is_array()) {
    for (size_t id = 0; id < json.size(); ++id) {
      if (json[id].is_array() && !json[id].empty() && json[id][0].is_string()) {
        tokens.insert_or_assign(static_cast<int64_t>(id), json[id][0].get<std::string>());
      }
    }
  }
}

// A message in the wire format of protocol buffers, field by field.
class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}
  // The next field; nothing at the end, or where the bytes are no such message.
  struct Field {
    uint64_t number = 0;
    std::string_view bytes;  // of a string or message
  };
  std::optional<Field> next() {
    const auto key = varint();
    if (!key) {
      return std::nullopt;
    }
    Field field{*key >> 3, {}};
    uint64_t length = 0;
    switch (*key & 7) {
      case 0:
        return varint() ? std::optional(field) : std::nullopt;
      case 1:
        length = 8;
        break;
      case 2: {
        const auto stated = varint();
        if (!stated) {
          return std::nullopt;
        }
        length = *stated;
        break;
      }
      case 5:
        length = 4;
        break;
      default:
        return std::nullopt;
    }
    if (length > bytes_.size()) {
      return std::nullopt;
    }
    field.bytes = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return field;
  }

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    return std::nullopt;
  }
  std::string_view bytes_;
};

// SentencePiece: field 1 of the model, once for each piece; field 1 of a piece is its text.
void add_pieces(const std::string& model, Tokens& tokens) {
  Message message(model);
  int64_t id = 0;
  while (const auto piece = message.next()) {
    if (piece->number != 1) {
      continue;
    }
    Message inner(piece->bytes);
    while (const auto field = inner.next()) {
      if (field->number == 1) {
        tokens.insert_or_assign(id, std::string(field->bytes));
        break;
      }
    }
    ++id;
  }
}

void add_lines(const std::string& text, Tokens& tokens) {
  std::istringstream lines(text);
  int64_t id = 0;
  for (std::string line; std::getline(lines, line);) {
    tokens.insert_or_assign(id++, line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
  }
}

}  // namespace

Tokens tokens_of(const std::filesystem::path& path, HfFolderOptions options) {
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  Tokens tokens;
  const nlohmann::json whole = json_of(folder, "tokenizer.json");
  if (whole.is_object()) {
    if (whole.contains("model") && whole["model"].is_object() && whole["model"].contains("vocab")) {
      add_vocabulary(whole["model"]["vocab"], tokens);
    }
    add_added(whole.value("added_tokens", nlohmann::json()), tokens);
    return tokens;
  }
  if (const auto lines = text_of(folder, "vocab.txt")) {
    add_lines(*lines, tokens);
  }
  add_ids(json_of(folder, "vocab.json"), tokens);
  for (const std::string name : {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
    if (const auto model = text_of(folder, name)) {
      add_pieces(*model, tokens);
      break;
    }
  }
  add_ids(json_of(folder, "added_tokens.json"), tokens);
  const nlohmann::json config = json_of(folder, "tokenizer_config.json");
  if (config.is_object()) {
    add_added(config.value("added_tokens_decoder", nlohmann::json()), tokens);
  }
  return tokens;
}

}  // namespace fusegrid
