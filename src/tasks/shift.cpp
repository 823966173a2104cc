#include "tasks/shift.h"

#include <vector>

#include <ATen/TensorOperators.h>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr int64_t kSeverities = 5;
constexpr uint64_t kShiftSeed = 0;  // one set of shifted images for the whole benchmark

struct ParsedShift {
  const Shift* shift = nullptr;  // nullptr: clean
  int64_t severity = 0;
};

[[noreturn]] void fail(const std::string& text, const std::string& name) {
  throw ConfigError("a shift must be clean or <name>-<severity> with a severity of 1 to " +
                    std::to_string(kSeverities) + ", but it is '" + text + "'" +
                    alternatives(name, shift_registry().names()));
}

ParsedShift parse(const std::string& text) {
  if (text == "clean") {
    return {};
  }
  const size_t dash = text.rfind('-');
  const std::string name = text.substr(0, dash);
  if (!shift_registry().contains(name)) {
    fail(text, name);
  }
  // one digit, so that a condition has one spelling: it is part of a cell's identity
  const bool one_digit = dash != std::string::npos && text.size() == dash + 2;
  const int64_t severity = one_digit ? text.back() - '0' : 0;
  if (severity < 1 || severity > kSeverities) {
    fail(text, name);
  }
  return {&shift_registry().at(name), severity};
}

}  // namespace

Registry<Shift>& shift_registry() {
  static Registry<Shift> registry("shift");
  return registry;
}

void check_shift(const std::string& text) {
  parse(text);
}

at::Tensor apply_shift(const std::string& text, const at::Tensor& images, const std::string& task,
                       int64_t first_index) {
  const ParsedShift parsed = parse(text);
  if (parsed.shift == nullptr) {
    return images;
  }
  FUSEGRID_ASSERT(images.dim() == 4 && images.scalar_type() == at::kByte && images.is_cpu(),
                  "images must be uint8 [batch, 3, size, size] on the CPU");
  const uint64_t key = derive_key(kShiftSeed, "shift/" + text + "/" + task);
  const at::Tensor shifted =
      parsed.shift->apply(images.to(at::kFloat) / 255, parsed.severity, key, first_index);
  return (shifted.clamp(0, 1) * 255).round().to(at::kByte).contiguous();
}

}  // namespace fusegrid
