#include "fusion/sharding.h"

#include <algorithm>

namespace fusegrid {

bool can_be_sharded(const MethodCard& card) {
  return card.grain != Grain::kWholeModel && std::all_of(card.needs.begin(), card.needs.end(),
                                                         [](Need need) { return need == Need::kPretrained; });
}

}  // namespace fusegrid
