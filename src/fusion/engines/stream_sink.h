#pragma once

#include <cstddef>
#include <cstdint>

#include "fusion/engines/stream_layout.h"

namespace fusegrid {

// Where a streamed merge puts its results, and what it tells of its inputs. Output k is one model; stages are those of
// the StreamLayout; source 0 is the base, if there is one, then come the experts.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  // Whether an earlier run has finished this stage of this output: it is not computed again. The same on all ranks.
  virtual bool is_finished(size_t output, size_t stage) const = 0;
  // Takes elements of a result in the dtype of its TensorInfo, on the host. Several threads may call it at once, for
  // several stages in any order.
  // Throws IoError.
  virtual void write(size_t output, size_t stage, const StreamRange& range, const void* data) = 0;
  // Everything of this stage of this output has been written by all ranks. Collective: every rank calls it, from the
  // thread that drives the merge. Throws AgreedError.
  virtual void finish(size_t output, size_t stage) = 0;

  // Whether the bytes of the inputs of this stage are to be shown: once, when they are first read. The same on all
  // ranks.
  virtual bool wants_inputs(size_t stage) const = 0;
  // Bytes of an input as stored, and how many of the elements are not finite; several threads may call it at once, for
  // several stages in any order.
  virtual void see_input(size_t source, const StreamRange& range, const void* data, int64_t non_finite) = 0;
  // All inputs of this stage have been shown, over all ranks. Collective as finish(); throws AgreedError also where the
  // sink takes no inputs that are not finite.
  virtual void finish_inputs(size_t stage) = 0;
};

}  // namespace fusegrid
