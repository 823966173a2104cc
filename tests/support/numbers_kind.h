#pragma once

#include "tasks/kind.h"

namespace fusegrid {

// Answers that are numbers: neither classes nor a distribution. It asks nobody.
class NumbersKind final : public TaskKind {
 public:
  std::string doc() const override { return "a number"; }
  std::vector<std::string> metrics() const override { return {"error"}; }
  bool has_distribution() const override { return false; }
  bool has_classes() const override { return false; }
  int64_t outputs(int64_t) const override { return 1; }
  at::Tensor losses(const at::Tensor& output, const Examples&) const override { return output; }
  Answers answer(const Examples&, const Asking&) const override { return {}; }
};

}  // namespace fusegrid
