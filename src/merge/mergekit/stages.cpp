#include "merge/mergekit/stages.h"

#include <set>

#include "core/errors.h"
#include "core/names.h"

namespace fusegrid::mergekit {
namespace {

std::string name_of(const Document& document) {
  return document.name.text;  // "" of the result
}

std::map<std::string, Document> documents_by_name(const std::filesystem::path& file) {
  std::map<std::string, Document> all;
  for (const YamlValue& value : read_yaml(file)) {
    Document document = parse_document(value);
    const std::string name = name_of(document);
    if (!name.empty()) {
      try {
        check_name(name, "the 'name' of a document, which becomes part of a folder's,");
      } catch (const ConfigError& error) {
        document.name.fail(error.what());
      }
    }
    const YamlValue at = document.at;
    if (!all.emplace(name, std::move(document)).second) {
      at.fail(
          name.empty()
              ? "one document of a file must have no 'name', the result, but this is a second one; name it"
              : "documents must have names of their own, but two are called '" + name + "'");
    }
  }
  if (!all.contains("")) {
    throw ConfigError(file.string() +
                      ":1: one document of a file must have no 'name': it is the result, which --out " +
                      "names; take the name from the last one");
  }
  return all;
}

// Adds a document behind those that it needs.
void add(const std::string& name, const std::map<std::string, Document>& documents,
         const std::filesystem::path& out, std::set<std::string>& open, std::set<std::string>& done,
         Stages& stages) {
  if (done.contains(name)) {
    return;
  }
  const Document& document = documents.at(name);
  open.insert(name);
  for (const YamlValue& model : document.all_models()) {
    if (open.contains(model.text)) {
      model.fail("documents must not need each other, but '" + name + "' needs '" + model.text +
                 "', which needs it");
    }
    if (documents.contains(model.text)) {
      add(model.text, documents, out, open, done, stages);
    }
  }
  open.erase(name);
  done.insert(name);
  stages.order.push_back({document, name.empty() ? out : stages.made.at(name)});
}

}  // namespace

Stages read_stages(const std::filesystem::path& file, const std::filesystem::path& out) {
  const auto documents = documents_by_name(file);
  Stages stages;
  for (const auto& [name, document] : documents) {
    if (!name.empty()) {
      stages.made.emplace(name, out.string() + "." + name);
    }
  }
  std::set<std::string> open;
  std::set<std::string> done;
  for (const auto& [name, document] : documents) {
    check_document(document, stages.made);
    add(name, documents, out, open, done, stages);
  }
  return stages;
}

}  // namespace fusegrid::mergekit
