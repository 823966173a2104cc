#include "fuzz/target.h"
#include "zoo/zoo.h"

namespace fusegrid::fuzz::zoo_json {
namespace {

void read(std::string_view text) {
  write_file(scratch_folder() + "/zoo.json", text);
  static_cast<void>(Zoo::load(scratch_folder()));
}

std::vector<std::string> seeds() {
  Zoo zoo;
  zoo.folder = scratch_folder();
  zoo.name = "seed";
  zoo.scale = "small";
  zoo.suite = "embedded8";
  zoo.pack = scratch_folder() + "/pack.h5";
  zoo.pack_sha256 = std::string(64, 'a');
  zoo.tasks = {"mnist", "fashion", "terrain"};
  zoo.experts = {{"mnist", {"mnist", "terrain"}}, {"fashion", {"fashion"}}};
  zoo.tokenizer_sha256 = std::string(64, 'b');
  for (const int64_t seed : {0, 1}) {
    Replicate replicate;
    replicate.seed = seed;
    replicate.base = zoo.folder / "base";
    replicate.heads = zoo.folder / "heads.safetensors";
    replicate.experts = {{"mnist", zoo.folder / "mnist"}, {"fashion", zoo.folder / "fashion"}};
    replicate.scores = {{"mnist/terrain/test/accuracy", 0.5}};
    zoo.replicates.push_back(replicate);
  }
  zoo.save();
  return {read_file(scratch_folder() + "/zoo.json")};
}

const RegisterTarget registered{
    "zoo_json",
    {read,
     seeds,
     {"\"seed\":", "\"experts\":{", "\"base\":", "\"replicates\":[", "\"version\":", "\"tasks\":[",
      "\"pooling\":", "{\"name\":\"mnist\",\"tasks\":["}}};

}  // namespace
}  // namespace fusegrid::fuzz::zoo_json
