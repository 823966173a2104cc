#include "checkpoint/constant_model.h"

#include <algorithm>

namespace fusegrid {

void ConstantModel::read_range(const std::string&, int64_t, int64_t count, void* destination) const {
  std::fill_n(static_cast<float*>(destination), count, value_);
}

}  // namespace fusegrid
