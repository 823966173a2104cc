#include "zoo/image_batches.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/tensor.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {
namespace {

at::Tensor pad_edges(const at::Tensor& images, int64_t pixels) {
  if (pixels == 0) {
    return images;
  }
  return at::replication_pad2d(images.to(at::kFloat), {pixels, pixels, pixels, pixels}).to(at::kByte);
}

// Writes pixel = gain * stored + offset (both in [0, 1]) of one example: gain[3], offset[3].
// u: 12 uniform numbers.
void draw_colours(const float* u, bool mask, double colour_share, float* gain, float* offset) {
  const bool coloured = u[6] < static_cast<float>(colour_share);
  const float contrast = 0.7F + 0.6F * u[7];
  for (int channel = 0; channel < 3; ++channel) {
    if (mask) {
      const float foreground = coloured ? 1 - 0.55F * u[channel] : 1;
      const float background = coloured ? 0.5F * u[3 + channel] : 0;
      gain[channel] = foreground - background;
      offset[channel] = background;
    } else {
      const float shift = u[11] < 0.5F ? 0.3F * (u[8 + channel] - 0.5F) : 0;
      gain[channel] = contrast;
      offset[channel] = 0.5F - 0.5F * contrast + shift;
    }
  }
}

}  // namespace

nlohmann::json preprocessor_config(int64_t image_size) {
  return {{"image_mean", {0.5, 0.5, 0.5}},
          {"image_std", {0.5, 0.5, 0.5}},
          {"do_normalize", true},
          {"do_rescale", true},
          {"do_resize", false},
          {"rescale_factor", 1.0 / 255},
          {"size", {{"height", image_size}, {"width", image_size}}}};
}

at::Tensor choose_shots(const LabelledTask& task, int64_t shots, uint64_t seed) {
  const auto order = permutation(derive_key(seed, "shots/" + task.name), 0, task.labels.size(0));
  const at::Tensor labels = task.labels.cpu().contiguous();
  const auto* label = labels.const_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> chosen(static_cast<size_t>(task.classes));
  for (const int64_t example : order) {
    auto& of_class = chosen.at(static_cast<size_t>(label[example]));
    if (static_cast<int64_t>(of_class.size()) < shots) {
      of_class.push_back(example);
    }
  }
  std::vector<int64_t> all;
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i].empty()) {
      throw DataError("task '" + task.name + "' has no training example of class " + std::to_string(i) +
                      "; every class needs one");
    }
    all.insert(all.end(), chosen[i].begin(), chosen[i].end());
  }
  return at::tensor(all, at::kLong);
}

PoolBatches::PoolBatches(const std::vector<PoolSource>& pool, const std::vector<LabelledTask>& tasks,
                         const Options& options)
    : options_(options) {
  FUSEGRID_ASSERT(!pool.empty(), "an empty pretraining pool");
  const int64_t pool_size = pool.front().images.size(3);
  for (const PoolSource& source : pool) {
    add(source.images, source.labels + classes_, source.mask, source.share, pool_size);
    classes_ += source.classes;
  }
  for (const LabelledTask& task : tasks) {
    const at::Tensor shots = choose_shots(task, options.shots, options.seed);
    first_labels_.push_back(classes_);
    add(task.images.cpu().index_select(0, shots), task.labels.cpu().index_select(0, shots) + classes_, false,
        options.shots_share / static_cast<double>(tasks.size()), pool_size);
    classes_ += task.classes;
  }
  images_ = concatenate(all_images_).to(options.device);
  labels_ = concatenate(all_labels_).to(options.device);
  all_images_.clear();
  all_labels_.clear();
  draw_order();
}

void PoolBatches::add(const at::Tensor& images, const at::Tensor& labels, bool mask, double share,
                      int64_t size) {
  const int64_t missing = size - images.size(3);
  if (images.size(2) != images.size(3) || missing < 0 || missing % 2 != 0 || size < options_.image_size) {
    throw ConfigError("images of " + std::to_string(images.size(2)) + " x " + std::to_string(images.size(3)) +
                      " pixels do not fit a pool of " + std::to_string(size) + " pixels and a model of " +
                      std::to_string(options_.image_size) +
                      "; make the task pack and the pool with the same tools");
  }
  all_images_.push_back(pad_edges(images, missing / 2).expand({-1, 3, -1, -1}));
  all_labels_.push_back(labels);
  mask_.insert(mask_.end(), static_cast<size_t>(images.size(0)), mask);
  mix_.add(images.size(0), share);
}

void PoolBatches::draw_order() {
  const int64_t count = options_.steps * options_.batch;
  const uint64_t key = derive_key(options_.seed, "pretrain/order");
  const at::Tensor source_numbers = uniform(key, 0, 0, count);
  const at::Tensor example_numbers = uniform(key, 1, 0, count);
  order_host_.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    order_host_[static_cast<size_t>(i)] =
        mix_.draw(source_numbers.const_data_ptr<float>()[i], example_numbers.const_data_ptr<float>()[i]);
  }
  order_ = at::tensor(order_host_, at::kLong).to(options_.device);
}

ImageBatch PoolBatches::at(int64_t step) const {
  constexpr int64_t kNumbers = 12;
  const int64_t batch = options_.batch;
  const uint64_t key = derive_key(options_.seed, "pretrain/augmentation");
  const at::Tensor numbers = uniform(key, static_cast<uint64_t>(step), 0, kNumbers * batch + 2);
  const auto* u = numbers.const_data_ptr<float>();
  at::Tensor colours = at::empty({2, batch, 3, 1, 1}, at::kFloat);
  auto* gain = colours.mutable_data_ptr<float>();
  for (int64_t i = 0; i < batch; ++i) {
    const auto example = static_cast<size_t>(order_host_[static_cast<size_t>(step * batch + i)]);
    draw_colours(u + kNumbers * i, mask_[example], options_.colour_share, gain + 3 * i,
                 gain + 3 * (batch + i));
  }
  colours = sent(colours, options_.device);
  const int64_t room = images_.size(3) - options_.image_size + 1;
  const at::Tensor order = order_.narrow(0, step * batch, batch);
  const at::Tensor crop = images_.index_select(0, order)
                              .narrow(2, scaled(u[kNumbers * batch], room), options_.image_size)
                              .narrow(3, scaled(u[kNumbers * batch + 1], room), options_.image_size);
  const at::Tensor pixels = crop.to(at::kFloat).div_(255).mul_(colours[0]).add_(colours[1]).clamp_(0, 1);
  return {pixels.sub(0.5).div_(0.5), labels_.index_select(0, order)};
}

TaskBatches::TaskBatches(const LabelledTask& task, int64_t batch, int64_t max_shift, uint64_t seed,
                         at::Device device)
    : padded_(pad_edges(task.images.to(device), max_shift)),
      labels_(task.labels.to(device)),
      order_(task.labels.size(0), batch, derive_key(seed, "fine_tune/order/" + task.name)),
      max_shift_(max_shift),
      size_(task.images.size(3)),
      shift_key_(derive_key(seed, "fine_tune/shift/" + task.name)) {}

ImageBatch TaskBatches::at(int64_t step) {
  const at::Tensor chosen = sent(order_.next(), labels_.device());
  const at::Tensor numbers = uniform(shift_key_, static_cast<uint64_t>(step), 0, 2);
  const auto* u = numbers.const_data_ptr<float>();
  const at::Tensor images = padded_.index_select(0, chosen)
                                .narrow(2, scaled(u[0], 2 * max_shift_ + 1), size_)
                                .narrow(3, scaled(u[1], 2 * max_shift_ + 1), size_);
  return {images.to(at::kFloat).sub_(127.5).div_(127.5), labels_.index_select(0, chosen)};
}

}  // namespace fusegrid
