#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/model_source.h"
#include "comm/collectives.h"
#include "core/weights.h"

namespace fusegrid {

// Digests of tensors whose bytes come in pieces, by several threads, on several ranks. SHA-256 of the whole would
// have to see the bytes one after the other, so the digest of a tensor is defined as the SHA-256 of the SHA-256s (as
// bytes) of its consecutive pieces of kDigestElements elements, as stored. One piece: SHA-256 of SHA-256.
constexpr int64_t kDigestElements = 1 << 16;

class PieceDigests {
 public:
  // Bytes of the elements [begin, begin + count) of tensor `info` of model `model`. begin: a multiple of
  // kDigestElements; count as well, except at the tensor's end. Several threads may call it at once.
  void add(size_t model, const TensorInfo& info, int64_t begin, int64_t count, const void* bytes);
  // [model][tensor] of everything that was added of these tensors on any rank, and forgotten with that; known to rank 0
  // alone. Collective. Aborts where a piece is missing.
  std::map<size_t, std::map<std::string, std::string>> collect(Collectives& group,
                                                               const std::set<std::string>& tensors);

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Pieces {
    std::vector<Digest> digests;
    std::vector<bool> present;
  };
  static std::string lines_of(size_t model, const std::string& name, const Pieces& pieces);
  static std::string combined(const std::vector<Digest>& digests);

  std::mutex mutex_;
  std::map<std::pair<size_t, std::string>, Pieces> pieces_;
};

// The same digest of a whole tensor, read by ranges.
std::string piecewise_digest(const ModelSource& source, const TensorInfo& info);

}  // namespace fusegrid
