#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_header.h"
#include "comm/collectives.h"
#include "core/posix_file.h"
#include "fusion/engines/stream_sink.h"
#include "merge/inputs.h"
#include "merge/layout.h"
#include "merge/piece_digests.h"

namespace fusegrid {

// The model folders of one merge while they are being made. All of them lie in <out>.partial, which is renamed to
// <out> when everything is there. Ranks write their ranges into the same files. A finished weight file has its final
// name and a record with its tensors' digests; the next run with the same identity does not make it again.
//   <out>.partial/.fusegrid/identity            what is merged
//   <out>.partial/.fusegrid/<output>-<stage>    record of a finished file: JSON {digests: {tensor: digest}, non_finite:
//                                               {tensor: elements}}
//   <out>.partial/.fusegrid/inputs-<stage>      [such a record of every source]
//   <out>.partial/<folder>/<file>[.part]
class MergeOutputs final : public StreamSink {
 public:
  struct Setup {
    std::filesystem::path out;
    std::vector<std::string> folders;  // of each output, below out; "": out itself
    std::string identity;              // text; of another merge: not continued
    MergeLayout layout;
    std::vector<TensorInfo> tensors;          // merged, dtype of the output: what ranges number
    std::vector<const ModelSource*> sources;  // as the session numbers them
    const ModelSource* reference = nullptr;   // buffers are copied from it
    Digests digests = Digests::kAll;
    bool allow_non_finite = false;  // in inputs; else finish_inputs() removes the partial folder and throws
  };
  // Collective. Makes the partial folder or continues it, and creates the files that are missing. Throws AgreedError
  // (another merge's partial folder, in use, disk).
  MergeOutputs(Setup setup, Collectives& group);
  ~MergeOutputs() override;

  bool is_finished(size_t output, size_t stage) const override { return finished_.contains({output, stage}); }
  void write(size_t output, size_t stage, const StreamRange& range, const void* data) override;
  void finish(size_t output, size_t stage) override;
  bool wants_inputs(size_t stage) const override;
  void see_input(size_t source, const StreamRange& range, const void* data, int64_t non_finite) override;
  void finish_inputs(size_t stage) override;

  // Output files that an earlier run had finished.
  size_t continued() const { return continued_; }
  // Rank 0: digests of what is finished, tensor -> digest.
  std::map<std::string, std::string> output_digests(size_t output) const;
  std::map<std::string, std::string> input_digests(size_t source) const;
  // Rank 0: elements that are not finite, of what is finished, by tensor; those that have some.
  std::map<std::string, int64_t> output_non_finite(size_t output) const;
  std::map<std::string, int64_t> input_non_finite(size_t source) const;
  // Rank 0: adds a file to an output's folder, or to one below, complete and synced.
  void add_file(size_t output, const std::filesystem::path& name, const std::string& content);
  void copy_file(size_t output, const std::filesystem::path& name, const std::filesystem::path& from);
  // Rank 0, when everything is there: <out>.partial becomes <out>. Throws IoError.
  void publish();

 private:
  struct Lock;
  using Counts = std::map<std::pair<size_t, size_t>, int64_t>;  // by model and tensor
  std::filesystem::path file(size_t output, size_t stage) const;
  std::filesystem::path record(const std::string& name) const;
  std::string record_name(size_t output, size_t stage) const;
  nlohmann::json read_record(const std::string& name) const;
  nlohmann::json input_record(size_t stage, size_t source) const;
  void open_partial();
  void create_files();
  std::set<std::string> tensors_of(size_t stage) const;
  TensorInfo stored(size_t source, TensorInfo info) const;
  PosixFile& open(size_t output, size_t stage);
  void copy_buffers(size_t output, size_t stage);
  std::map<std::string, int64_t> over_ranks(const Counts& mine, size_t model, size_t stage) const;
  [[noreturn]] void refuse(const std::vector<std::map<std::string, int64_t>>& non_finite);
  void put(size_t output, size_t stage, const TensorInfo& info, int64_t begin, int64_t count,
           const void* data);

  Setup setup_;
  Collectives& group_;
  std::filesystem::path partial_;
  std::unique_ptr<Lock> lock_;
  std::vector<std::map<std::string, at::ScalarType>> dtypes_;  // of every source, as stored
  std::vector<SafetensorsHeader> headers_;                     // per stage
  std::vector<uint64_t> data_begin_;
  std::set<std::pair<size_t, size_t>> finished_;
  std::set<size_t> inputs_finished_;
  size_t continued_ = 0;
  std::mutex mutex_;
  std::map<std::pair<size_t, size_t>, PosixFile> files_;
  std::vector<PieceDigests> output_pieces_;  // per output
  PieceDigests input_pieces_;
  Counts output_non_finite_, input_non_finite_;  // of this rank
};

// Whether <out>.partial holds an unfinished merge, and how many of its weight files are finished. Throws ConfigError
// where it is one of another identity, or something else. Changes nothing.
std::optional<size_t> check_unfinished(const std::filesystem::path& out, const std::string& identity);
// Throws IoError.
std::string read_whole(const std::filesystem::path& path);

}  // namespace fusegrid
