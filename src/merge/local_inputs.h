#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/model_source.h"
#include "comm/collectives.h"
#include "comm/requests.h"
#include "merge/spec.h"

namespace fusegrid {

// The experts of a merge that lie on the disks of some ranks only (--inputs-are local). A rank that has a folder reads
// it; the others ask a rank that has it for the ranges they need, as the merge goes on: so every method works, and
// every element is still computed by one rank, in the order of the experts, with the bits of shared inputs. The base
// (without one: the first expert) must be on every rank.
class LocalInputs {
 public:
  // Collective, over all ranks of MPI_COMM_WORLD. Throws AgreedError: a folder that no rank has, or that holds other
  // tensors on another rank, or what opening it throws.
  LocalInputs(const MergeSpec& spec, Collectives& group);
  LocalInputs(const LocalInputs&) = delete;
  LocalInputs& operator=(const LocalInputs&) = delete;

  // Expert `index`, here or elsewhere. It must not outlive this object.
  std::unique_ptr<ModelSource> expert(size_t index) const;
  // What tells a later run that the expert is the same: merge/inputs.h. The same on every rank.
  const nlohmann::json& stamp(size_t index) const { return experts_[index].stamp; }
  // The first rank that has it.
  int holder(size_t index) const { return experts_[index].holder; }
  // Collective: every rank calls it when it reads no more, also after an AgreedError.
  void finish() { requests_->finish(); }

 private:
  struct Expert {
    std::string name;                    // for messages
    std::unique_ptr<ModelSource> model;  // where it is here
    int owner = 0;                       // whom to ask where it is not
    int holder = 0;                      // the first that has it
    std::vector<TensorInfo> tensors;
    nlohmann::json config;
    nlohmann::json factors;  // rank and scale by tensor, where it is stored as factors
    nlohmann::json stamp;
  };
  class Remote;

  void open_here(const MergeSpec& spec);
  void find_owners(Collectives& group);
  void answer(const std::string& question, void* destination, size_t size) const;

  std::unique_ptr<ModelSource> base_;  // for adapters
  std::vector<Expert> experts_;
  std::unique_ptr<Requests> requests_;
};

}  // namespace fusegrid
