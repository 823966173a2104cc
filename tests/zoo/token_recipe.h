// Tests of recipes that train on the tiny world of tokens.
#pragma once

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "zoo/text_world.h"

namespace fusegrid::test {

template <typename Function>
std::string refusal_of(const Function& function) {
  try {
    function();
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

// A world with a base: made once for a suite, whose tests copy it.
struct MadeBaseOnce {
  using MakePlan = ZooPlan (*)(const fs::path& folder);
  explicit MadeBaseOnce(MakePlan make_plan) {
    const ZooPlan plan = make_plan(folder.path());
    result = make_item(plan, {plan.name(), 0, ZooItem::Kind::kBase, ""}, at::kCPU);
  }
  TemporaryFolder folder;
  Result result;
};

class TokenRecipe : public testing::Test {
 protected:
  TokenRecipe(MadeBaseOnce::MakePlan make_plan, const MadeBaseOnce& made) : plan_(make_plan(world_.path())) {
    fs::copy(made.folder / "zoos", world_ / "zoos", fs::copy_options::recursive);
  }

  Result make(ZooItem::Kind kind, const std::string& task = "", int64_t seed = 0) const {
    return make_item(plan_, {plan_.name(), seed, kind, task}, at::kCPU);
  }
  Weights model(const std::string& folder) const {
    const fs::path path = plan_.folder / "seed-0" / folder;
    return load_weights(*make_architecture(HfFolder(path).config()), path, at::kCPU);
  }
  at::Tensor head(const std::string& file, const std::string& tensor) const {
    return SafetensorsFile(plan_.folder / "seed-0" / file).read(tensor);
  }
  std::set<std::string> changed(const std::string& folder) const {
    std::set<std::string> names;
    const Weights base = model("base");
    for (const auto& [name, tensor] : model(folder)) {
      if (!tensor.equal(base.at(name))) {
        names.insert(name);
      }
    }
    return names;
  }
  // The experts, the multi-task model where the plan has it, and the description of the zoo.
  Zoo make_zoo(std::vector<Result> results = {}) const {
    for (const ZooItem& item : model_items(plan_, {0})) {
      results.push_back(make_item(plan_, item, at::kCPU));
    }
    return finish(plan_, {0}, results);
  }
  static double value(const Result& result, const std::string& metric, const std::string& split = "test") {
    for (const Metric& each : result.metrics) {
      if (each.name == metric && each.split == split) {
        return each.value;
      }
    }
    ADD_FAILURE() << "no " << metric << " on " << split;
    return NAN;
  }

  TemporaryFolder world_;
  ZooPlan plan_;
};

}  // namespace fusegrid::test
