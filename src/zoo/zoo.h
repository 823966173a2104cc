#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/weights.h"
#include "models/network.h"

namespace fusegrid {

// One copy of a zoo's models, trained with its own seed. `seed` of a cell chooses it.
struct Replicate {
  int64_t seed = 0;
  std::filesystem::path base;   // HuggingFace folder
  std::filesystem::path heads;  // safetensors: "<task>.rows" [classes, features], "logit_scale"
  std::map<std::string, std::filesystem::path> experts;  // by task
  std::optional<std::filesystem::path> multitask;
  std::map<std::string, std::string> digests;  // "base", "expert/<task>", "multitask" -> digest(Weights)
  std::map<std::string, double> scores;        // "<task>/<split>" -> accuracy of its expert when it was made
};

// A base with experts at one model scale, described by ZOO/zoo.json (docs/results_format.md, "Zoos").
struct Zoo {
  std::string name;   // folder name: "embedded-small"
  std::string scale;  // "small", "medium", "large", "vit-b-32", ...
  std::string suite;  // key of the suite registry: what its tasks are
  std::filesystem::path folder;
  std::filesystem::path pack;  // task pack, found beside the zoo or in data_folder()
  std::string pack_sha256;
  std::vector<std::string> tasks;     // order of the experts: "experts=3" means the first three
  std::vector<Replicate> replicates;  // sorted by seed

  // Throws ConfigError (not there: lists the zoos that are) or DataError (damaged).
  static Zoo load(const std::filesystem::path& folder);
  void save() const;  // atomically writes folder/zoo.json

  // The replicate that a cell's seed chooses: the one of that seed; a zoo with a single replicate serves
  // every seed (then the seed only keys the method's random numbers). ConfigError where there is none.
  const Replicate& replicate(int64_t seed) const;
  // The tasks that the text of Cell::experts means ("3", "mnist+fashion"); ConfigError where it means
  // nothing.
  std::vector<std::string> experts(const std::string& text) const;
};

// Where zoos are looked for by name: $FUSEGRID_ZOOS, else ./zoos. And the program's read-only data (task
// packs, trained bases): $FUSEGRID_DATA, else <prefix>/share/fusegrid of an installed program, else data/ of
// the source tree.
std::filesystem::path zoos_folder();
std::filesystem::path data_folder();
Zoo find_zoo(const std::string& name_or_folder);
std::vector<std::string> list_zoos();

// A replicate's models as they are used: float32 on `device`. Loading checks layouts, NaN/Inf and (where
// recorded) digests.
struct LoadedReplicate {
  Network network;
  Weights base;
  std::map<std::string, Weights> experts;
  std::optional<Weights> multitask;
};
LoadedReplicate load_replicate(const Zoo& zoo, const Replicate& replicate,
                               const std::vector<std::string>& tasks, bool with_multitask, at::Device device);

}  // namespace fusegrid
