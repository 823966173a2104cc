#pragma once

#include <cstdint>
#include <vector>

#include "core/weights.h"

namespace fusegrid {

// Elements [begin, begin + count) of tensor number `tensor`.
struct StreamRange {
  size_t tensor = 0;
  int64_t begin = 0;
  int64_t count = 0;
  bool operator==(const StreamRange&) const = default;
};

// Who works on what when a model is streamed. The work is cut into stages (the shards of the output, so that each
// can be finished before the next), every stage into as many parts as there are ranks. No number ever depends on
// this: ranges begin at multiples of the block, and a block belongs to one rank.
class StreamLayout {
 public:
  // stages: positions in `tensors`, every tensor in exactly one stage. block: elements; see slice_elements().
  StreamLayout(const std::vector<TensorInfo>& tensors, const std::vector<std::vector<size_t>>& stages,
               int ranks, int64_t block);

  size_t num_stages() const { return elements_.size(); }
  int num_ranks() const { return ranks_; }
  // Element grain: equal numbers of elements for all ranks (to one block), tensors split where that needs it. The
  // ranks' ranges, one behind the other, are the stage in its order.
  const std::vector<StreamRange>& elements(size_t stage, int rank) const { return elements_[stage][rank]; }
  // Tensor grain: whole tensors, of a stage the longest first, each to the rank that has least of all stages so far: a
  // stage may be one long tensor.
  const std::vector<size_t>& whole(size_t stage, int rank) const { return whole_[stage][rank]; }
  // Whether `range` is all of its tensor, so that no other rank has a part of it.
  bool is_whole(const StreamRange& range) const { return range.count == numel_[range.tensor]; }
  int64_t stage_elements(size_t stage) const { return stage_elements_[stage]; }
  size_t stage_of(size_t tensor) const { return stage_of_[tensor]; }
  // `stages` (in order) by those whose ranges are taken in turn. Their files are then written side by side: one file
  // takes a fraction of what a file system does (2.4 of 30 GB/s on tmpfs). An interrupted merge loses what it had of
  // them, so they are few and not too large together: for each rank, as more ranks lose no more time.
  std::vector<std::vector<size_t>> waves(const std::vector<size_t>& stages) const;

 private:
  void split_elements(const std::vector<size_t>& stage, int64_t block);
  void assign_whole(std::vector<size_t> stage,
                    std::vector<int64_t>& load);  // load: elements of the ranks so far

  int ranks_;
  std::vector<int64_t> numel_;
  std::vector<int64_t> stage_elements_;
  std::vector<size_t> stage_of_;                                 // [tensor]
  std::vector<std::vector<std::vector<StreamRange>>> elements_;  // [stage][rank]
  std::vector<std::vector<std::vector<size_t>>> whole_;          // [stage][rank]
};

// What is read of one stage, in pieces that may come in any order, each of ranges that may not.
using StagePieces = std::vector<std::vector<StreamRange>>;
// One piece of each stage in turn.
std::vector<StreamRange> taken_in_turn(const std::vector<StagePieces>& stages);

}  // namespace fusegrid
