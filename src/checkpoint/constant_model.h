#pragma once

#include <string>
#include <utility>
#include <vector>

#include "checkpoint/model_source.h"

namespace fusegrid {

// A model all of whose elements are one number: what changes of models are on, where only the changes matter.
class ConstantModel final : public ModelSource {
 public:
  // tensors: float32, sorted by name
  ConstantModel(std::string name, std::vector<TensorInfo> tensors, float value)
      : name_(std::move(name)), tensors_(std::move(tensors)), value_(value) {}

  std::string name() const override { return name_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override;
  void check_unchanged() const override {}

 private:
  std::string name_;
  std::vector<TensorInfo> tensors_;
  float value_;
};

}  // namespace fusegrid
