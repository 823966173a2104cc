#include "zoo/map_batches.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "zoo/map_world.h"

namespace fusegrid::test {
namespace {

TEST(MirroredMap, turns_normals_to_the_other_side) {
  const at::Tensor classes = at::tensor({1, 2, 3, 4}, at::kInt).view({1, 2, 2});
  EXPECT_TRUE(mirrored_map(classes, "segment").equal(at::tensor({2, 1, 4, 3}, at::kInt).view({1, 2, 2})));
  const at::Tensor normals = at::tensor({0.6F, -1.0F, 0.8F, 0.0F, 0.0F, 0.0F}).view({1, 3, 1, 2});
  EXPECT_TRUE(mirrored_map(normals, "normals")
                  .equal(at::tensor({1.0F, -0.6F, 0.0F, 0.8F, 0.0F, 0.0F}).view({1, 3, 1, 2})));
  EXPECT_TRUE(mirrored_map(mirrored_map(normals, "normals"), "normals").equal(normals));
}

// Of any of its pixels an image tells the class, so that a wrong mirror would be seen.
TEST(MapBatches, mirror_images_and_maps_together) {
  const TemporaryFolder folder;
  write_map_pack(folder / "pack.h5");
  const TaskPack pack(folder / "pack.h5");
  Network network;
  network.architecture = make_architecture(
      {{"model_type", "resnet_cifar"}, {"image_size", kMapSide}, {"hidden_sizes", {4}}, {"depths", {1}}});
  MapBatches batches(pack.task("near"), pack.read("near", "train"), 8, 3, network);
  MapBatches again(pack.task("near"), pack.read("near", "train"), 8, 3, network);
  bool corners_differ = false;
  for (int64_t step = 0; step < 12; ++step) {
    const Examples batch = batches.at(step);
    EXPECT_EQ(batch.inputs.images.sizes(), (std::vector<int64_t>{8, 3, kMapSide, kMapSide}));
    EXPECT_TRUE(((batch.inputs.images.select(1, 0) > 0) == (batch.maps < 2)).all().item<bool>());
    const Examples same = again.at(step);
    EXPECT_TRUE(same.inputs.images.equal(batch.inputs.images) && same.maps.equal(batch.maps));
  }
  MapBatches shades_of(pack.task("shade"), pack.read("shade", "train"), 8, 3, network);
  for (int64_t step = 0; step < 12; ++step) {
    const at::Tensor ignored = shades_of.at(step).maps == 7;  // the first pixel of the first row, or the last
    corners_differ = corners_differ || ignored.select(2, kMapSide - 1).select(1, 0).all().item<bool>();
    EXPECT_EQ(ignored.sum().item<int64_t>(), 8);
  }
  EXPECT_TRUE(corners_differ) << "some batches are mirrored";
}

}  // namespace
}  // namespace fusegrid::test
