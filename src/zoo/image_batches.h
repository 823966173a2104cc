// The images of training steps: which examples, and how they are augmented.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "store/pretraining_pool.h"
#include "zoo/sampling.h"

namespace fusegrid {

// The training split of one task.
struct LabelledTask {
  std::string name;
  int64_t classes = 0;
  at::Tensor images;  // uint8 [examples, 3, size, size]
  at::Tensor labels;  // int64 [examples], 0 .. classes-1
};

struct ImageBatch {
  at::Tensor pixels;  // float [batch, 3, size, size], normalised with mean 0.5 and std 0.5, on the device
  at::Tensor labels;  // int64 [batch], on the device
};

// The preprocessor_config.json of models that read such pixels, of images of that size.
nlohmann::json preprocessor_config(int64_t image_size);

// At most `shots` examples of each class, chosen by (seed, task): int64 indices on the CPU, class by class.
// DataError where a class has no example.
at::Tensor choose_shots(const LabelledTask& task, int64_t shots, uint64_t seed);

// Batches of pretraining: a source is drawn by its share, an example of it uniformly. Labels count through:
// first the classes of the pool's sources in their order, then those of the tasks in theirs.
class PoolBatches {
 public:
  struct Options {
    int64_t batch = 64, steps = 1, image_size = 28, shots = 4;
    double shots_share = 0.24, colour_share = 0.25;
    uint64_t seed = 0;
    at::Device device = at::kCPU;
  };
  PoolBatches(const std::vector<PoolSource>& pool, const std::vector<LabelledTask>& tasks,
              const Options& options);
  int64_t classes() const { return classes_; }
  // The first label of task `index`; its classes follow one another.
  int64_t first_label(size_t index) const { return first_labels_.at(index); }
  // One random crop for the batch; glyph masks white on black or, with colour_share, in random colours;
  // contrast and channel shifts of colour images.
  ImageBatch at(int64_t step) const;

 private:
  void add(const at::Tensor& images, const at::Tensor& labels, bool mask, double share, int64_t size);
  void draw_order();

  Options options_;
  at::Tensor images_, labels_, order_;  // on the device; order_ [steps * batch]: indices into images_
  std::vector<at::Tensor> all_images_, all_labels_;
  std::vector<bool> mask_;  // by example
  std::vector<int64_t> order_host_;
  SourceMix mix_;
  std::vector<int64_t> first_labels_;
  int64_t classes_ = 0;
};

// Batches of fine-tuning, see ExampleOrder. The whole batch is shifted by the same -max_shift .. max_shift pixels each
// way, edges repeated.
class TaskBatches {
 public:
  TaskBatches(const LabelledTask& task, int64_t batch, int64_t max_shift, uint64_t seed, at::Device device);
  ImageBatch at(int64_t step);  // steps in order, each once

 private:
  at::Tensor padded_, labels_;  // on the device
  ExampleOrder order_;
  int64_t max_shift_, size_;
  uint64_t shift_key_;
};

}  // namespace fusegrid
