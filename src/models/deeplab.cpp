#include "models/deeplab.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>

#include "core/concatenate.h"
#include "models/channel_norm.h"
#include "models/operators.h"

namespace fusegrid {
namespace {

const std::string kBranch = "aspp.", kWeight = ".weight";

std::string branch(int64_t dilation) {
  return kBranch + std::to_string(dilation);
}

std::vector<int64_t> with_point(const std::vector<int64_t>& dilations) {
  std::vector<int64_t> all{0};
  all.insert(all.end(), dilations.begin(), dilations.end());
  return all;
}

}  // namespace

std::vector<TensorInfo> deeplab_parameters(int64_t features, int64_t hidden, int64_t outputs,
                                           const std::vector<int64_t>& dilations) {
  ParameterList all;
  const auto add = [&](const std::string& name, const std::string& norm, int64_t in, int64_t side) {
    all.add(name + kWeight, {hidden, in, side, side});
    ChannelNorm(ChannelNormKind::kBatch, norm, hidden).add_to(all);
  };
  for (const int64_t dilation : with_point(dilations)) {
    const std::string name = branch(dilation);
    add(name, name + ".norm", features, dilation == 0 ? 1 : 3);
  }
  add("pool", "pool.norm", features, 1);
  add("project", "project.norm", hidden * (static_cast<int64_t>(dilations.size()) + 2), 1);
  add("conv", "norm", hidden, 3);
  all.add("weight", {outputs, hidden});
  all.add("bias", {outputs});
  return all.sorted();
}

std::vector<int64_t> deeplab_dilations(const std::vector<std::string>& names) {
  std::vector<int64_t> found;
  for (const std::string& name : names) {
    if (name.starts_with(kBranch) && name.ends_with(kWeight) &&
        name.size() > kBranch.size() + kWeight.size()) {
      const char* end = name.data() + name.size() - kWeight.size();
      int64_t dilation = 0;
      const auto read = std::from_chars(name.data() + kBranch.size(), end, dilation);
      if (read.ec == std::errc() && read.ptr == end && dilation > 0) {
        found.push_back(dilation);
      }
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> deeplab_first_kernels(const std::vector<int64_t>& dilations) {
  std::vector<std::string> names{"pool" + kWeight};
  for (const int64_t dilation : with_point(dilations)) {
    names.push_back(branch(dilation) + kWeight);
  }
  return names;
}

at::Tensor deeplab_hidden(const Weights& decoder, const std::vector<int64_t>& dilations,
                          const at::Tensor& map, const Pass& pass) {
  std::vector<at::Tensor> branches;
  for (const int64_t dilation : with_point(dilations)) {
    const std::string name = branch(dilation);
    branches.push_back(convolved(decoder, name, name + ".norm", map, pass, std::max<int64_t>(dilation, 1)));
  }
  const at::Tensor pooled = convolved(decoder, "pool", "pool.norm", map.mean({2, 3}, true), pass);
  branches.push_back(pooled.expand_as(branches.front()));
  const at::Tensor joined = convolved(decoder, "project", "project.norm", concatenate(branches, 1), pass);
  return convolved(decoder, "conv", "norm", joined, pass);
}

}  // namespace fusegrid
