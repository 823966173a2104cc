// A tiny zoo of flows, on the pictures of support/flow_pack.h.
#pragma once

#include <filesystem>

#include "support/flow_pack.h"
#include "zoo/build.h"

namespace fusegrid::test {

// A plan whose pack lies in `folder`.
inline ZooPlan flow_plan(const std::filesystem::path& folder) {
  stored_flow_pack().write(folder / "pack.h5");
  return {.recipe = "flow",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"whole", "half"},
          .folder = folder / "zoos" / "flow-tiny",
          .pack = folder / "pack.h5",
          .overrides = {{"width", 8},
                        {"blocks", 1},
                        {"head_width", 4},
                        {"image_size", kPictureSide},
                        {"patch", 2},
                        {"seen", 1},
                        {"base_steps", 5},
                        {"base_batch", 8},
                        {"expert_steps", 5},
                        {"expert_batch", 8},
                        {"multitask_steps", 5},
                        {"multitask_batch", 4}}};
}

}  // namespace fusegrid::test
