#include "worker/pack_data.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/empty_like.h>

#include "core/errors.h"
#include "tasks/shift.h"
#include "zoo/examples.h"

namespace fusegrid {
namespace {

constexpr int64_t kShiftBatch = 1024;  // images that are floating-point numbers at a time

at::Tensor shift_all_images(const std::string& shift, const at::Tensor& images, const std::string& task) {
  at::Tensor shifted = at::empty_like(images);
  for (int64_t begin = 0; begin < images.size(0); begin += kShiftBatch) {
    const int64_t size = std::min(kShiftBatch, images.size(0) - begin);
    shifted.narrow(0, begin, size).copy_(shifted_images(shift, images.narrow(0, begin, size), task, begin));
  }
  return shifted;
}

int64_t bytes_of(const Examples& examples) {
  int64_t bytes = examples.maps.defined() ? static_cast<int64_t>(examples.maps.nbytes()) : 0;
  for (const at::Tensor& tensor : examples.inputs.tensors()) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

}  // namespace

const TaskPack& PackData::pack() const {
  FUSEGRID_ASSERT(pack_.has_value(), "the zoo has no task pack");
  return *pack_;
}

const Examples& PackData::whole(const std::string& task, const std::string& split) const {
  const std::string key = task + "/" + split;
  auto it = loaded_.find(key);
  if (it == loaded_.end()) {
    const Split read = pack().read(task, split);
    it = loaded_.emplace(key, placed(examples_of(read, pack().tokens(), at::kCPU))).first;
  }
  return it->second;
}

Examples PackData::placed(const Examples& examples) const {
  const int64_t bytes = bytes_of(examples);
  if (!device_.is_cpu() && bytes > resident_left_) {
    return examples;
  }
  resident_left_ -= bytes;
  return examples.to(device_);
}

Examples PackData::examples(const std::string& task, const std::string& split, int64_t count) const {
  return whole(task, split).first(count);
}

Examples PackData::shifted(const std::string& task, const std::string& split,
                           const std::string& shift) const {
  const Examples& clean = whole(task, split);
  if (!changes_inputs(shift)) {
    return clean;
  }
  const std::string key = task + "/" + split + "@" + shift;
  if (const auto kept = shifted_.find(key)) {
    return *kept;
  }
  Examples shifted = clean;
  if (shifts_tokens(shift)) {
    Split read = pack().read(task, split);
    read.tokens = shifted_tokens(shift, read.tokens, task, *pack().tokens());
    shifted.inputs = examples_of(read, pack().tokens(), clean.inputs.tokens.device()).inputs;
  } else {
    shifted.inputs.images =
        shift_all_images(shift, clean.inputs.images.cpu(), task).to(clean.inputs.images.device());
  }
  const int64_t bytes = bytes_of(shifted);
  return *shifted_.keep(key, std::move(shifted), bytes);
}

const TaskKind& PackData::kind(const std::string& task) const {
  std::shared_ptr<const TaskKind>& kind = kinds_[task];
  if (!kind) {
    kind = kind_of(pack().task(task), pack().tokens());
  }
  return *kind;
}

std::string PackData::key() const {
  if (key_.empty()) {
    key_ = seen_ && seen_->stamp == pack_stamp(pack().path()) ? seen_->digest : pack().sha256();
  }
  return key_;
}

Examples CellData::examples(const std::string& task, const std::string& split, int64_t count) const {
  return split == "test" ? pack_.shifted(task, split, shift_).first(count)
                         : pack_.examples(task, split, count);
}

}  // namespace fusegrid
