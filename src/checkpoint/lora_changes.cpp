#include "checkpoint/lora_changes.h"

#include <cstring>

#include "checkpoint/checks.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lora_keys.h"
#include "core/errors.h"

namespace fusegrid {
LoraChanges lora_changes(const SafetensorsFile& file) {
  using Kind = LoraKey::Kind;
  const std::string where = "'" + file.path().string() + "'";
  LoraChanges changes;
  for (const auto& tensor : file.tensors()) {
    const LoraKey key = parse_lora_key(tensor.name, file.path().string());
    if (key.kind == Kind::kUnused) {
      continue;
    }
    const bool copy = key.kind == Kind::kCopy;
    const bool embedding = key.kind == Kind::kEmbeddingA || key.kind == Kind::kEmbeddingB;
    const bool a = key.kind == Kind::kA || key.kind == Kind::kEmbeddingA;
    LoraChange& change = changes[copy ? key.target : key.target + ".weight"];
    std::string& slot = copy ? change.copy : a ? change.a : change.b;
    // PEFT writes some copies under two names
    if (!slot.empty() && !(copy && same_bytes(file, slot, tensor.name))) {
      throw DataError(where + " must hold each tensor once, but " + printable(slot) + " and " +
                      printable(tensor.name) + " are both " + printable(key.target));
    }
    slot = tensor.name;
    if (!copy && !change.module.empty() && change.embedding != embedding) {
      throw DataError(where + " must hold factors of one kind for each module, but " + printable(key.target) +
                      " has those of an embedding and others");
    }
    if (!copy) {
      change.module = key.target;
      change.embedding = embedding;
    }
  }
  if (changes.empty()) {
    throw DataError(where + " must hold the tensors of an adapter, but it holds none");
  }
  return changes;
}

FactorShape factor_shape(const SafetensorsFile& file, const LoraChange& change) {
  const std::string where = "'" + file.path().string() + "': ";
  if (change.a.empty() || change.b.empty()) {
    throw DataError(where + "a module must have both factors, but " + printable(change.module) +
                    " lacks its " + (change.a.empty() ? "A" : "B") + "; was the file cut?");
  }
  const TensorInfo a = file.info(change.a);
  const TensorInfo b = file.info(change.b);
  const bool matrices = a.shape.size() == 2 && b.shape.size() == 2 && a.floating() && b.floating();
  if (!matrices || a.shape[0] != b.shape[1]) {
    throw DataError(where + "the factors of " + printable(change.module) +
                    " must be floating [r, in] and [out, r], but they are " + shape_text(a.shape) + " and " +
                    shape_text(b.shape));
  }
  return {b.shape[0], a.shape[1], a.shape[0]};
}

bool same_bytes(const SafetensorsFile& file, const std::string& first, const std::string& second) {
  const at::Tensor a = file.read(first);
  const at::Tensor b = file.read(second);
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

}  // namespace fusegrid
