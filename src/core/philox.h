#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// Philox4x32-10, a counter-based generator: the random number of an element depends on (key, stream, element)
// alone, never on the number of ranks, the order of work or a device. Source: Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011.
std::array<uint32_t, 4> philox(uint64_t key, uint64_t stream, uint64_t counter);

// Uniform numbers in [0, 1) of the elements [begin, begin + count) of stream `stream`: float32 [count] on the
// CPU, 24 random bits each. Element e is word e % 4 of counter e / 4.
at::Tensor uniform(uint64_t key, uint64_t stream, int64_t begin, int64_t count);
// The same into memory: `count` numbers from `out` on.
void fill_uniform(uint64_t key, uint64_t stream, int64_t begin, int64_t count, float* out);

// Random numbers of 8 bits: element e is byte e % 16 of counter e / 16, of a word the low byte first.
void fill_bytes(uint64_t key, uint64_t stream, int64_t begin, int64_t count, uint8_t* out);

// Standard normal numbers of the elements [begin, begin + count) of stream `stream`: float32 [count] on the
// CPU (Box-Muller on the two halves of a counter, computed in float64). Element e is number e % 2 of counter
// e / 2, so a stream serves either uniform() or normal().
at::Tensor normal(uint64_t key, uint64_t stream, int64_t begin, int64_t count);

// A 64-bit key from a seed and a purpose ("dare", "shift/gaussian_noise", ...): different purposes never
// share numbers.
uint64_t derive_key(uint64_t seed, const std::string& purpose);

// Uniform random permutation of 0 .. n-1 (Fisher-Yates on the stream's numbers).
std::vector<int64_t> permutation(uint64_t key, uint64_t stream, int64_t n);

}  // namespace fusegrid
