// Rooms with simple bodies, ray-cast: one image, three maps. The examples are in scenes.h5, which is not committed:
// tools/make_scenes_pack.py makes it.

#include "tasks/suite.h"

namespace fusegrid::suites::scenes3 {
namespace {

constexpr const char* kSplit = "by scene, all drawn at random";

const std::vector<TaskCard>& cards() {
  static const std::vector<TaskCard> all{
      {"segmentation", "Surfaces and bodies of rooms", "segmentation", 7,
       "floor, wall, ceiling, sphere, box, cylinder or cone", kSplit},
      {"depth", "Depth of rooms", "depth", 0, "metres along the optical axis", kSplit},
      {"normals", "Surface normals of rooms", "surface normals", 0, "in the frame of the camera", kSplit},
  };
  return all;
}

const bool registered = [] {
  suite_registry().add("scenes3", {"scenes3", "scenes.h5", "tools/make_scenes_pack.py", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::scenes3
