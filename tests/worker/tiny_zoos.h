// Two tiny zoos on disk for the parts of the grid's executor: "embedded-tiny" with replicates of seeds 0 and 1, and
// "other-tiny" with seed 0, both of the tasks "bars" and "rows".
#pragma once

#include <filesystem>
#include <string>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/cell.h"
#include "zoo/support.h"

namespace fusegrid {

namespace fs = std::filesystem;

// A test gets copies of its own, so it may damage them.
class TinyZoos : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);   // as an executor does
    if (world_ == nullptr) {  // made once for all suites, and left to the end of the program
      static TemporaryFolder world;
      world_ = &world;
      ZooPlan plan = test::tiny_plan(world.path());
      test::make_tiny_zoo(plan, {0, 1});
      plan.folder = plan.folder.parent_path() / "other-tiny";
      plan.overrides["expert_steps"] = 3;
      test::make_tiny_zoo(plan);
    }
  }
  TinyZoos() { fs::copy(world_->path(), copy_.path(), fs::copy_options::recursive); }

  fs::path zoo_folder(const std::string& zoo = "embedded-tiny") const { return copy_ / "zoos" / zoo; }
  fs::path model(const std::string& name, int64_t seed = 0) const {
    return zoo_folder() / ("seed-" + std::to_string(seed)) / name;
  }
  fs::path copy() const { return copy_.path(); }

 private:
  static inline TemporaryFolder* world_ = nullptr;
  TemporaryFolder copy_;
};

inline Cell tiny_cell(const std::string& method, const std::string& task = "bars",
                      const std::string& shift = "clean", int64_t seed = 0,
                      const std::string& zoo = "embedded-tiny", const std::string& experts = "2") {
  return Cell::parse(zoo + "/experts=" + experts + "/" + method + "/seed=" + std::to_string(seed) + "/" +
                     task + "@" + shift);
}

}  // namespace fusegrid
