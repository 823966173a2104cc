#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "fusion/engine.h"
#include "fusion/engines/stream_layout.h"
#include "fusion/engines/stream_models.h"
#include "fusion/engines/stream_reader.h"
#include "fusion/engines/stream_rounds.h"
#include "fusion/engines/stream_sink.h"
#include "fusion/engines/stream_writer.h"

namespace fusegrid {

struct StreamOptions {
  int64_t memory_limit_bytes = int64_t{1} << 30;  // of a rank's buffers on the host
  int threads = 1;  // that read; half as many write one output, as many several; 0: no other threads (CPU)
  at::Device device = at::kCPU;
  int64_t keep_bytes = 0;  // of the device's memory: for blocks of the models that stay there between passes
  std::function<void(double share)> progress = [](double) {
  };                                   // of a pass over all elements; called by the driving thread
  std::function<void()> tick = [] {};  // after every slice; likewise
};

// How a rank divides its memory: the same rule for the plan and for the run.
struct StreamBuffers {
  StreamReader::Options reader;
  StreamWriter::Options writer;
  int64_t arithmetic_bytes = 0;  // float32 blocks of the models and what methods make of them, on the device
  int64_t total_bytes = 0;       // on the host
};
// outputs: written in one pass. Throws ConfigError where the limit is below what two blocks of every model need.
StreamBuffers stream_buffers(const StreamModels& models, size_t outputs, const StreamOptions& options);
// What a pass over whole tensors adds to it: the largest tensor of every model and of the result.
int64_t whole_tensor_bytes(const StreamModels& models);

// One method with its parameters, run by run() in a thread of its own. Several may make one output together, each a
// part of its tensors; such a method must look at every tensor for itself.
struct StreamConfiguration {
  bool with_base = false;  // the card declares Need::kPretrained
  StreamPart part = {};
  size_t first_output = 0;
  size_t outputs = 1;
  std::function<void(Engine&)> fuse;
};

struct StreamStats {
  int64_t passes = 0;         // over all elements; those over samples do not count
  int64_t bytes_read = 0;     // by this rank, of all sources
  int64_t bytes_written = 0;  // by this rank
  int64_t buffer_bytes = 0;   // largest sum of this rank's buffers on the host
};

// One rank of a streamed merge: reads the models slice by slice, as many times as the configurations need passes, each
// time once for all of them. Every rank of the group makes one with the same arguments and calls run(). The bits of
// the results depend neither on the number of ranks, nor on the memory, nor on the configurations that run beside.
class StreamSession {
 public:
  // Everything is used, not owned, and must outlive the session.
  StreamSession(const StreamModels& models, const StreamLayout& layout, Collectives& group, StreamSink& sink,
                StreamOptions options);

  // Collective. Throws AgreedError: the first error of any rank.
  void run(const std::vector<StreamConfiguration>& configurations);
  StreamStats stats() const;

 private:
  friend class StreamEngine;

  void drive(StreamRounds& rounds);
  void run_pass(StreamRequest::Kind kind, const std::vector<StreamRequest*>& requests);
  // Stages that are read side by side, and the requests that need each.
  using Wave = std::map<size_t, std::vector<StreamRequest*>>;
  std::vector<StreamRequest*> active_requests(size_t stage,
                                              const std::vector<StreamRequest*>& requests) const;
  StagePieces pieces_of(StreamRequest::Kind kind, size_t stage) const;
  void start_reading(StreamRequest::Kind kind, const Wave& wave, const std::vector<StreamRange>& ranges);
  void run_wave(StreamRequest::Kind kind, const Wave& wave);
  void finish_stage(size_t stage, const std::vector<StreamRequest*>& requests);
  void visit_range(StreamRequest::Kind kind, const StreamRange& range,
                   const std::vector<StreamRequest*>& requests);
  void visit_blocks(const StreamRange& range, const std::vector<at::Tensor>& stored,
                    const std::vector<StreamRequest*>& requests);
  void collect_tensor(const StreamRange& range, const std::vector<at::Tensor>& stored,
                      const std::vector<StreamRequest*>& requests);
  void check_whole_tensors_fit();
  void show(const Slice& slice, const std::vector<StreamRequest*>& requests);
  static Slice with_experts(const Slice& slice, const std::vector<size_t>& experts);
  void show_to(StreamRequest& request, const Slice& slice);
  at::Tensor field_value(const Slice& slice, const Field& field);
  void write(size_t output, const Slice& slice, const at::Tensor& values);
  Slice make_slice(const StreamRange& range, std::vector<SliceBlock> blocks);

  const StreamModels& models_;
  const StreamLayout& layout_;
  Collectives& group_;
  StreamSink& sink_;
  StreamOptions options_;
  std::vector<int64_t> global_begin_;  // [tensors]: elements of the model before each
  int64_t elements_ = 0;
  std::unique_ptr<StreamReader> reader_;
  std::unique_ptr<StreamWriter> writer_;
  StreamBuffers buffers_;
  std::vector<at::Tensor> blocks_;            // per source: float32 of one block
  std::vector<at::Tensor> whole_;             // per source: float32 of the tensor that is being collected
  std::map<std::string, at::Tensor> fields_;  // of the slice that is shown
  std::map<size_t, size_t> parts_of_output_;  // configurations that make it
  std::map<std::pair<size_t, size_t>, size_t> written_;  // by output and stage: parts that have been
  bool has_non_finite_ = false;                          // the range, or all of the tensor, that is shown
  at::Tensor marks_;                                     // non_finite_entries.h, of the slice that is shown
  int64_t passes_ = 0;
  int64_t whole_bytes_ = 0;
};

// What one configuration sees of the session.
class StreamEngine final : public Engine {
 public:
  StreamEngine(StreamSession& session, StreamRounds& rounds, size_t configuration,
               const StreamConfiguration& what)
      : session_(session), rounds_(rounds), configuration_(configuration), what_(what) {}

  size_t num_experts() const override {
    return what_.part.experts.empty() ? session_.models_.experts.size() : what_.part.experts.size();
  }
  const std::vector<TensorInfo>& tensors() const override { return session_.models_.tensors; }
  at::Device device() const override { return session_.options_.device; }
  void for_each_slice(const Visit& visit) override;
  void for_each_sample(const Visit& visit) override;
  void for_each_tensor(const Visit& visit) override;
  std::vector<Weights> map_slices(size_t outputs, const Fuse& fuse) override;
  std::vector<Weights> map_tensors(size_t outputs, const Fuse& fuse) override;
  std::vector<std::vector<double>> reduce_per_tensor(
      size_t width, const std::function<void(const Slice&, double* out)>& value) override;
  void sum_over_ranks(std::vector<int64_t>& counters) override;

 private:
  void ask(StreamRequest request);
  void claim_outputs(size_t outputs);
  std::vector<Weights> map(StreamRequest::Kind kind, size_t outputs, const Fuse& fuse);
  Weights without_data() const;
  size_t rows_of(const StreamRange& range) const;  // of reduce_per_tensor()
  std::vector<std::vector<double>> add_rows(const std::vector<std::vector<double>>& rows, size_t width) const;

  StreamSession& session_;
  StreamRounds& rounds_;
  size_t configuration_;
  const StreamConfiguration& what_;
  bool mapped_ = false;
};

}  // namespace fusegrid
