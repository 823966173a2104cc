#include "merge/mergekit/yaml.h"

#include <set>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "core/errors.h"
#include "core/text_file.h"

namespace fusegrid::mergekit {
namespace {

constexpr int kMostValues = 100000;
constexpr int kDeepest = 32;
constexpr auto kMergeKey = "<<";

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(std::make_shared<const std::string>(file)) {}

  // line: of what is around it, for values without a place
  YamlValue read(const YAML::Node& node, int line, int depth = 0) {
    YamlValue value;
    value.file = file_;
    value.line = node.Mark().line < 0 ? line : node.Mark().line + 1;
    if (++values_ > kMostValues || depth > kDeepest) {
      value.fail("the file must have at most " + std::to_string(kMostValues) + " values, nested at most " +
                 std::to_string(kDeepest) + " deep; write out its aliases");
    }
    if (node.IsScalar()) {
      value.kind = YamlValue::Kind::kScalar;
      value.text = node.Scalar();
    } else if (node.IsSequence()) {
      value.kind = YamlValue::Kind::kList;
      for (const YAML::Node& item : node) {
        value.items.push_back(read(item, value.line, depth + 1));
      }
    } else if (node.IsMap()) {
      value.kind = YamlValue::Kind::kMap;
      read_entries(node, value, depth);
    }
    return value;
  }

 private:
  void read_entries(const YAML::Node& node, YamlValue& value, int depth) {
    std::set<std::string> keys;
    std::vector<YamlValue> merged;
    for (const auto& pair : node) {
      const YamlValue key = read(pair.first, value.line, depth + 1);
      if (key.text == kMergeKey) {
        merged.push_back(read(pair.second, key.line, depth + 1));
        continue;
      }
      if (!key.is(YamlValue::Kind::kScalar)) {
        key.fail("a key must be text, but it is " + key.seen());
      }
      if (!keys.insert(key.text).second) {
        key.fail("'" + key.text + "' must be given once; remove one of the two");
      }
      value.entries.push_back({key.text, read(pair.second, key.line, depth + 1), key.line});
    }
    for (const YamlValue& other : merged) {
      add_merged(other, keys, value);
    }
  }

  // "<<: *other": its entries, but for those that the mapping has itself; of a list those of each.
  static void add_merged(const YamlValue& other, std::set<std::string>& keys, YamlValue& value) {
    if (!other.is(YamlValue::Kind::kMap) && !other.is(YamlValue::Kind::kList)) {
      other.fail("'<<' must be followed by a mapping, or a list of mappings, but it is " + other.seen());
    }
    for (const YamlValue& item : other.items) {
      add_merged(item, keys, value);
    }
    for (const Entry& entry : other.entries) {
      if (keys.insert(entry.key).second) {
        value.entries.push_back(entry);
      }
    }
  }

  std::shared_ptr<const std::string> file_;
  int values_ = 0;
};

}  // namespace

void YamlValue::fail(const std::string& message) const {
  throw ConfigError(*file + ":" + std::to_string(line) + ": " + message);
}

std::string YamlValue::seen() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "'" + text + "'";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a mapping";
  }
  return "";
}

std::vector<YamlValue> read_yaml(const std::filesystem::path& file) {
  const std::string text = read_text_file(file, "file of mergekit");
  std::vector<YamlValue> documents;
  Reader reader(file.string());
  try {
    for (const YAML::Node& node : YAML::LoadAll(text)) {
      documents.push_back(reader.read(node, 1));
    }
  } catch (const YAML::Exception& error) {
    throw ConfigError(file.string() + ":" + std::to_string(error.mark.line + 1) +
                      ": it is no YAML: " + error.msg);
  }
  return documents;
}

}  // namespace fusegrid::mergekit
