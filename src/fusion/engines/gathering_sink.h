#pragma once

#include <mutex>
#include <vector>

#include "comm/collectives.h"
#include "fusion/engines/stream_sink.h"

namespace fusegrid {

// Gives every rank of the group the results of a streamed merge, whole, in memory. The layout must have one stage.
class GatheringSink final : public StreamSink {
 public:
  // tensors: of every output, in float32. device: of the group (collectives take tensors there). Everything is
  // used, not owned.
  GatheringSink(const std::vector<TensorInfo>& tensors, size_t outputs, Collectives& group,
                at::Device device);

  bool is_finished(size_t, size_t) const override { return false; }
  void write(size_t output, size_t stage, const StreamRange& range, const void* data) override;
  void finish(size_t output, size_t stage) override;
  bool wants_inputs(size_t) const override { return false; }
  void see_input(size_t, const StreamRange&, const void*, int64_t) override {}
  void finish_inputs(size_t) override {}

  // Output k, on the group's device; once, after the session.
  Weights take(size_t output);

 private:
  std::vector<StreamRange> sorted_ranges(size_t output) const;
  void exchange(int root, const std::vector<StreamRange>& ranges, size_t output);
  at::Tensor part(size_t output, const StreamRange& range) const;

  const std::vector<TensorInfo>& tensors_;
  Collectives& group_;
  at::Device device_;
  std::vector<std::vector<at::Tensor>> values_;    // [output][tensor]; on the host
  std::vector<std::vector<StreamRange>> written_;  // [output]; by this rank
  std::mutex mutex_;                               // of written_
};

}  // namespace fusegrid
