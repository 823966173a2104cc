// The decoder of maps that DeepLabv3 has: convolutions of several dilations side by side.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/architecture.h"

namespace fusegrid {

// Its tensors, all of floating point. Each kernel but the last has a batch norm of its own, `<name>.norm.weight`,
// `.bias`, `.running_mean` and `.running_var`, under ReLU.
//   aspp.0.weight              [hidden, features, 1, 1]
//   aspp.<dilation>.weight     [hidden, features, 3, 3], for each of one or more dilations
//   pool.weight                [hidden, features, 1, 1], of the mean over all positions
//   project.weight             [hidden, branches * hidden, 1, 1], of those above in this order, dilations rising
//   conv.weight                [hidden, hidden, 3, 3], whose norm is `norm`
//   weight, bias               [outputs, hidden], [outputs]
// dilations: rising, without the 0.
std::vector<TensorInfo> deeplab_parameters(int64_t features, int64_t hidden, int64_t outputs,
                                           const std::vector<int64_t>& dilations);

// The same of a decoder's tensors, by their names; empty: it is no such decoder.
std::vector<int64_t> deeplab_dilations(const std::vector<std::string>& names);

// The kernels that read the features.
std::vector<std::string> deeplab_first_kernels(const std::vector<int64_t>& dilations);

// What the last affine map reads: [n, hidden, height, width]. map: [n, features, height, width], in the decoder's
// dtype.
//   pass  whether batch norms take the batch's statistics
// Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv:1706.05587.
at::Tensor deeplab_hidden(const Weights& decoder, const std::vector<int64_t>& dilations,
                          const at::Tensor& map, const Pass& pass);

}  // namespace fusegrid
