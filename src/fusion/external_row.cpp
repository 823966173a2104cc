#include "fusion/external_row.h"

#include <mutex>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

Method make_method(const std::string& method) {
  const bool is_folder = method.starts_with("folder:");
  const MethodCard card{
      .name = method,
      .title = method.substr(method.find(':') + 1),
      .paper = "made outside of fusegrid",
      .formula = is_folder ? "theta = the model of a folder" : "theta = what a command writes",
      .family = Family::kExternal,
      .grain = Grain::kWholeModel,
      .random = true,
      .order_invariant = false};
  const auto read = [method](const ParamText& text) {
    ParamReader("method '" + method + "'", text).expect_all_read();
  };
  return {.card = card,
          .fuse = [](const FusionInput&, const ParamText&) -> FusedModel {
            FUSEGRID_ASSERT(false, "an external row is made by worker/external_merger.h");
          },
          .canonical =
              [read](const ParamText& text) {
                read(text);
                return std::string();
              },
          .params = [] { return std::vector<ParamInfo>(); },
          .check = [read](const ParamText& text, const MethodCard&, int64_t) { read(text); },
          .demands = [](const ParamText&) { return std::set<Demand>(); },
          .needs = [](const ParamText&) { return std::set<Need>(); },
          .direction = {}};
}

}  // namespace

void to_json(nlohmann::json& json, const ExternalRow& row) {
  json = {{"command", row.command}, {"path", row.path}, {"digests", row.digests}};
}

void from_json(const nlohmann::json& json, ExternalRow& row) {
  row = {.command = json.at("command"), .path = json.at("path"), .digests = json.at("digests")};
}

std::filesystem::path folder_of(const ExternalRow& row, const Cell& cell) {
  std::string path = row.path;
  replace_all(path, "{seed}", number_text(cell.seed));
  replace_all(path, "{experts}", cell.experts);
  return path;
}

bool is_external(const std::string& method) {
  return method.starts_with("external:") || method.starts_with("folder:");
}

const Method* external_method(const std::string& method) {
  if (!is_external(method)) {
    return nullptr;
  }
  static std::mutex mutex;
  static std::map<std::string, Method> made;  // what was handed out stays where it is
  const std::lock_guard lock(mutex);
  const auto found = made.find(method);
  return &(found != made.end() ? found : made.emplace(method, make_method(method)).first)->second;
}

}  // namespace fusegrid
