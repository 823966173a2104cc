#include "worker/pack_data.h"

#include <algorithm>

#include <ATen/ops/empty_like.h>

#include "tasks/shift.h"

namespace fusegrid {
namespace {

constexpr int64_t kShiftBatch = 1024;  // images that are floating-point numbers at a time

Examples first(const Examples& all, int64_t count) {
  const int64_t available = all.images.size(0);
  const int64_t used = count < 0 ? available : std::min(count, available);
  return {all.images.narrow(0, 0, used), all.labels.narrow(0, 0, used)};
}

at::Tensor shift_all(const std::string& shift, const at::Tensor& images, const std::string& task) {
  at::Tensor shifted = at::empty_like(images);
  for (int64_t begin = 0; begin < images.size(0); begin += kShiftBatch) {
    const int64_t size = std::min(kShiftBatch, images.size(0) - begin);
    shifted.narrow(0, begin, size).copy_(apply_shift(shift, images.narrow(0, begin, size), task, begin));
  }
  return shifted;
}

}  // namespace

const Examples& PackData::whole(const std::string& task, const std::string& split) const {
  const std::string key = task + "/" + split;
  auto it = loaded_.find(key);
  if (it == loaded_.end()) {
    const Split read = pack_.read(task, split);
    it = loaded_.emplace(key, Examples{read.images.to(device_), read.labels.to(device_)}).first;
  }
  return it->second;
}

Examples PackData::examples(const std::string& task, const std::string& split, int64_t count) const {
  return first(whole(task, split), count);
}

Examples PackData::shifted(const std::string& task, const std::string& split,
                           const std::string& shift) const {
  const Examples& clean = whole(task, split);
  if (shift == "clean") {
    return clean;
  }
  const std::string key = task + "/" + split + "@" + shift;
  if (const auto kept = shifted_.find(key)) {
    return *kept;
  }
  const at::Tensor images = shift_all(shift, clean.images.cpu(), task).to(device_);
  return *shifted_.keep(key, {images, clean.labels}, static_cast<int64_t>(images.nbytes()));
}

std::string PackData::key() const {
  if (key_.empty()) {
    key_ = pack_.sha256();
  }
  return key_;
}

Examples CellData::examples(const std::string& task, const std::string& split, int64_t count) const {
  return split == "test" ? first(pack_.shifted(task, split, shift_), count)
                         : pack_.examples(task, split, count);
}

}  // namespace fusegrid
