#include "fusion/demands.h"

#include "core/errors.h"

namespace fusegrid {
namespace {

bool has(const Architecture& architecture, Demand demand) {
  switch (demand) {
    case Demand::kBlocks:
      return architecture.blocks() != nullptr;
    case Demand::kLayers:
      return !architecture.layers().empty();
    case Demand::kDistribution:
    case Demand::kClasses:
      return true;  // asked of tasks
  }
  FUSEGRID_ASSERT(false, "unknown demand");
}

bool has(const TaskKind& kind, Demand demand) {
  switch (demand) {
    case Demand::kDistribution:
      return kind.has_distribution();
    case Demand::kClasses:
      return kind.has_classes();
    case Demand::kBlocks:
    case Demand::kLayers:
      return true;  // asked of models
  }
  FUSEGRID_ASSERT(false, "unknown demand");
}

[[noreturn]] void refuse(const std::string& method, Demand demand, const std::string& lacking) {
  throw ConfigError("method '" + method + "' needs " + to_string(demand) + ", which " + lacking +
                    " has not; leave the method out, or run it on another zoo");
}

}  // namespace

void check_demands(const Method& method, const ParamText& parameters, const Architecture& architecture,
                   const std::map<std::string, const TaskKind*>& tasks) {
  for (const Demand demand : method.demands(parameters)) {
    if (!has(architecture, demand)) {
      refuse(method.card.name, demand, architecture.name());
    }
    for (const auto& [task, kind] : tasks) {
      if (!has(*kind, demand)) {
        refuse(method.card.name, demand, "task '" + task + "'");
      }
    }
  }
}

const Blocks& required_blocks(const std::string& method, const Architecture& architecture) {
  const Blocks* blocks = architecture.blocks();
  if (blocks == nullptr) {
    refuse(method, Demand::kBlocks, architecture.name());
  }
  return *blocks;
}

}  // namespace fusegrid
