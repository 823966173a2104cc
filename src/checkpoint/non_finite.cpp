#include "checkpoint/non_finite.h"

#include <algorithm>
#include <cstring>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kCountedAtOnce = 4096;  // elements between two looks at what was found

// bad(bits) is 0 or 1, of the width of the bits, so that a loop works on whole vectors.
template <typename Bits, typename Bad>
int64_t count_bits(const void* elements, int64_t count, const Bad& bad) {
  const auto* const values = static_cast<const Bits*>(elements);
  int64_t total = 0;
  for (int64_t begin = 0; begin < count; begin += kCountedAtOnce) {
    const int64_t end = std::min(begin + kCountedAtOnce, count);
    Bits any = 0;
    for (int64_t i = begin; i < end; ++i) {
      any = static_cast<Bits>(any | bad(values[i]));
    }
    if (any != 0) {
      for (int64_t i = begin; i < end; ++i) {
        total += static_cast<int64_t>(bad(values[i]));
      }
    }
  }
  return total;
}

// All bits of the mask are those of NaN and infinity.
template <typename Bits>
int64_t count_masked(const void* elements, int64_t count, Bits mask) {
  return count_bits<Bits>(elements, count,
                          [mask](Bits bits) { return static_cast<Bits>((bits & mask) == mask ? 1 : 0); });
}

}  // namespace

int64_t count_non_finite(const void* elements, c10::ScalarType dtype, int64_t count) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return count_masked<uint32_t>(elements, count, 0x7F800000);
    case c10::ScalarType::BFloat16:
      return count_masked<uint16_t>(elements, count, 0x7F80);
    case c10::ScalarType::Half:
      return count_masked<uint16_t>(elements, count, 0x7C00);
    case c10::ScalarType::Float8_e5m2:
      return count_masked<uint8_t>(elements, count, 0x7C);
    case c10::ScalarType::Float8_e4m3fn:
      return count_masked<uint8_t>(elements, count, 0x7F);  // it has no infinity
    case c10::ScalarType::Float8_e5m2fnuz:
    case c10::ScalarType::Float8_e4m3fnuz:  // NaN has the place of minus zero
      return count_bits<uint8_t>(elements, count, [](uint8_t bits) { return uint8_t{bits == 0x80}; });
    case c10::ScalarType::Double: {
      constexpr uint64_t kBeyondFloat = 0x47EFFFFFF0000000;  // rounds to infinity in float32
      return count_bits<uint64_t>(elements, count, [](uint64_t bits) {
        return uint64_t{(bits & 0x7FFFFFFFFFFFFFFF) >= kBeyondFloat};
      });
    }
    default:
      FUSEGRID_ASSERT(false, "dtype " + std::string(c10::toString(dtype)));
  }
}

}  // namespace fusegrid
