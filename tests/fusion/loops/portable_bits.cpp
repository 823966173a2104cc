// Prints a digest of what each rule of the element loops makes of the same numbers, so that builds for other processors
// can be compared (portable_bits_test.sh). Needs the headers alone, not LibTorch: it is compiled for processors that
// have none here. What is not a number is one number in the digest: its bits are the processor's.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "core/philox_rule.h"
#include "fusion/loops/entry_rules.h"
#include "fusion/loops/ordered_bits.h"
#include "fusion/passes/drop_rule.h"

namespace fusegrid {
namespace {

constexpr int64_t kEntries = 65'536;
constexpr int kVectors = 5;
constexpr uint64_t kKey = 7;

class Digest {  // FNV-1a
 public:
  void add(uint32_t word) {
    for (int byte = 0; byte < 4; ++byte) {
      hash_ = (hash_ ^ (word >> (8 * byte) & 0xffU)) * 0x100000001b3U;
    }
  }
  void add(float value) { add(std::isnan(value) ? 0x7fc00000U : std::bit_cast<uint32_t>(value)); }
  void add(const Lanes& lanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      add(lanes[lane]);
    }
  }
  void print(const std::string& name) const {
    std::printf("%-28s %016llx\n", name.c_str(), static_cast<unsigned long long>(hash_));
  }

 private:
  uint64_t hash_ = 0xcbf29ce484222325U;
};

// Random bits, so of every magnitude: subnormal, huge, infinite and no numbers, and one in eight is zero.
template <typename Stored>
std::vector<std::vector<Stored>> random_vectors() {
  std::vector<std::vector<Stored>> vectors(kVectors, std::vector<Stored>(kEntries));
  for (int vector = 0; vector < kVectors; ++vector) {
    for (int64_t i = 0; i < kEntries; ++i) {
      const auto words = philox_words(kKey, static_cast<uint64_t>(vector), static_cast<uint64_t>(i));
      // half of them near one, where sums round
      const uint32_t bits = (i & 1) != 0 ? (words.words[0] & 0x83ffffffU) | 0x3c000000U : words.words[0];
      const float value = (words.words[1] & 7U) == 0 ? 0.0F : std::bit_cast<float>(bits);
      vectors[vector][i] = static_cast<Stored>(value);
    }
  }
  return vectors;
}

template <typename Number, typename Stored>
struct Entry {
  const std::vector<std::vector<Stored>>& vectors;
  int64_t at;
  Number operator()(int i) const {
    if constexpr (std::is_same_v<Number, float>) {
      return static_cast<float>(vectors[i][at]);
    } else {
      return load_lanes(&vectors[i][at]);
    }
  }
  float number(int i) const { return 0.3F + 0.17F * static_cast<float>(i); }
  int count() const { return kVectors; }
};

template <typename Stored, typename Rule>
void digest_rule(const std::string& name, const Rule& rule) {
  const auto vectors = random_vectors<Stored>();
  Digest lanes, numbers;
  for (int64_t at = 0; at < kEntries; at += kLanes) {
    lanes.add(Lanes(rule(Entry<Lanes, Stored>{vectors, at})));
  }
  for (int64_t at = 0; at < kEntries; ++at) {
    numbers.add(float(rule(Entry<float, Stored>{vectors, at})));
  }
  lanes.print(name + ", lanes");
  numbers.print(name + ", numbers");
}

// For each vector, with what the vectors share.
template <typename Stored, typename Rule>
void digest_part(const std::string& name, const Rule& rule) {
  digest_rule<Stored>(name, [&](const auto& entry) {
    const auto shared = [&](int k) { return entry(k); };
    auto sum = rule(entry, 2, shared);
    for (int i = 3; i < kVectors; ++i) {
      sum = sum + rule(entry, i, shared);
    }
    return sum;
  });
}

template <typename Stored>
void digest_rules(const std::string& stored) {
  digest_rule<Stored>("sum " + stored, Sum{});
  digest_rule<Stored>("mean " + stored, Mean{});
  digest_rule<Stored>("weighted sum " + stored, WeightedSum{});
  digest_rule<Stored>("add scaled " + stored, AddScaled{});
  digest_rule<Stored>("largest " + stored, Largest{});
  digest_rule<Stored>("trimmed sum " + stored, TrimmedSum{});
  digest_rule<Stored>("agreeing sum " + stored, MergeAgreeing<AgreeingMerge::kSum>{});
  digest_rule<Stored>("agreeing mean " + stored, MergeAgreeing<AgreeingMerge::kMean>{true});
  digest_rule<Stored>("agreeing max " + stored, MergeAgreeing<AgreeingMerge::kMax>{});
  digest_rule<Stored>("mean of changes " + stored, MeanOfChanges{1e-3F});
  digest_rule<Stored>("sum of products " + stored, SumOfProducts{});
  digest_rule<Stored>("agreeing weighted " + stored, MergeAgreeingWeighted<false>{});
  digest_rule<Stored>("agreeing w. mean " + stored, MergeAgreeingWeighted<true>{});
  digest_part<Stored>("agreeing part " + stored, AgreeingPart{});
  digest_part<Stored>("add part " + stored, AddAgreeingPart{});
}

void digest_drops() {
  const DropRule rule(kKey, 0.9);
  Digest ties, orders, masks;
  const auto vectors = random_vectors<float>();
  std::vector<int8_t> kept(kEntries);
  for (int64_t i = 0; i < kEntries; ++i) {
    kept[i] = rule.keeps_tie(i) ? -1 : 0;
    ties.add(static_cast<uint32_t>(kept[i] != 0));
    orders.add(ordered_bits(vectors[0][i], Order::kValues));
    orders.add(ordered_bits(vectors[0][i], Order::kMagnitudes));
  }
  for (int64_t i = 0; i < kEntries; i += kLanes) {
    masks.add(bits_of(load_mask(&kept[i])));
  }
  ties.print("random drops");
  orders.print("ordered bits");
  masks.print("masks");
}

}  // namespace
}  // namespace fusegrid

int main() {
  fusegrid::digest_rules<float>("f32");
  fusegrid::digest_rules<at::BFloat16>("bf16");
  fusegrid::digest_drops();
}
