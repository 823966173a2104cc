// The head of a task whose answers are maps: a small decoder, or that of DeepLabv3 (models/deeplab.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/readout.h"

namespace fusegrid {

// The tensors of the small decoder, all of floating point:
//   conv.weight                                 [hidden, features, k, k], k odd
//   norm.weight, norm.bias                      [hidden]
//   norm.running_mean, norm.running_var         [hidden]
//   weight                                      [outputs, hidden]
//   bias                                        [outputs]
std::vector<TensorInfo> decoder_parameters(int64_t features, int64_t hidden, int64_t outputs,
                                           int64_t kernel = 3);

// Of what a decoder reads and makes.
struct MapSizes {
  PixelSize positions, pixels;
};
MapSizes map_sizes(const Architecture& architecture);  // of the images that it reads

// What a decoder makes of the features of a map [n, height * width, features]: a convolution, batch norm, ReLU, or what
// DeepLabv3 has there; an affine map at each position; and bilinear interpolation to pixels: [n, height, width,
// outputs]. It is between the centres of positions, and DeepLabv3's between those of the outermost positions, which lie
// at the corners of the image. In the dtype of the features, and float32 at least.
//   pass  whether batch norms take the batch's statistics; that of the small decoder is "norm"
// Source: Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, arXiv:1411.4038, section
// 3.3 (interpolation of a coarse map).
at::Tensor decoded(const Weights& decoder, const at::Tensor& features, const MapSizes& sizes,
                   const Pass& pass = {});

std::shared_ptr<const Readout> dense_readout(Weights decoder, const MapSizes& sizes);

}  // namespace fusegrid
