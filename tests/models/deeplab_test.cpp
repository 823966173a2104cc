// Golden values: tests/golden/make_dense.py.
#include "models/deeplab.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "models/dense_readout.h"
#include "support/map_golden.h"

namespace fusegrid::deeplab_test {
namespace {

double max_error(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).abs().max().item<double>();
}

class DeepLabGolden : public testing::Test {
 protected:
  DeepLabGolden() {
    for (const auto& [name, tensor] : golden_.at("tensors").items()) {
      decoder_[name] = tensor_of(tensor).to(at::kFloat);
    }
  }
  PixelSize size(const std::string& name) const {
    const auto sides = golden_.at(name).get<std::vector<int64_t>>();
    return {sides.at(0), sides.at(1)};
  }
  std::shared_ptr<const Readout> readout() const {
    return dense_readout(decoder_, {size("positions"), size("pixels")});
  }

  const nlohmann::json golden_ = dense_golden().at("deeplab");
  const at::Tensor features_ = tensor_of(golden_.at("features")).to(at::kFloat);
  Weights decoder_;
};

TEST_F(DeepLabGolden, agrees_with_the_golden_values) {
  EXPECT_EQ(readout()->pooling(), Pooling::kNone);
  EXPECT_EQ(readout()->features(), 3);
  EXPECT_EQ(readout()->outputs(), 2);
  const at::Tensor map = (*readout())({}, features_);
  EXPECT_EQ(map.sizes(), (std::vector<int64_t>{2, 5, 9, 2}));
  EXPECT_LE(max_error(map, tensor_of(golden_.at("output"))), 2e-5);
}

TEST_F(DeepLabGolden, its_statistics_are_made_anew) {
  const Weights anew = readout()->re_estimated({features_})->weights();
  ASSERT_EQ(anew.size(), decoder_.size());
  for (const std::string norm : {"aspp.0.norm", "aspp.3.norm", "pool.norm", "project.norm", "norm"}) {
    EXPECT_FALSE(anew.at(norm + ".running_mean").equal(decoder_.at(norm + ".running_mean"))) << norm;
    EXPECT_TRUE(anew.at(norm + ".weight").equal(decoder_.at(norm + ".weight"))) << norm;
  }
}

TEST_F(DeepLabGolden, reads_features_that_were_mapped) {
  const at::Tensor map = normal(9, 0, 0, 12).view({3, 4});  // of four features
  const at::Tensor wider = normal(8, 0, 0, 2 * 12 * 4).view({2, 12, 4});
  const auto mapped = readout()->of_mapped_features(map);
  EXPECT_EQ(mapped->features(), 4);
  const at::Tensor expected = (*readout())({}, at::matmul(wider, map.t()));
  EXPECT_LE(max_error((*mapped)({}, wider), expected.to(at::kDouble)), 1e-4);
}

TEST(DeepLab, has_the_tensors_of_the_published_head) {
  int64_t count = 0;
  std::vector<std::string> names;
  for (const TensorInfo& info : deeplab_parameters(2048, 256, 13, {12, 24, 36})) {
    const bool is_statistic = info.name.find("running") != std::string::npos;
    count += is_statistic ? 0 : info.numel();
    names.push_back(info.name);
  }
  // five branches, the projection, the last kernel, seven norms, and the affine map
  EXPECT_EQ(count, 2 * 2048 * 256 + 3 * 9 * 2048 * 256 + 5 * 256 * 256 + 9 * 256 * 256 + 7 * 512 + 13 * 257);
  EXPECT_THAT(deeplab_dilations(names), testing::ElementsAre(12, 24, 36));
  EXPECT_THAT(deeplab_dilations({"conv.weight", "aspp.0.weight", "aspp.x.weight", "aspp.weight"}),
              testing::IsEmpty());
}

}  // namespace
}  // namespace fusegrid::deeplab_test
