#include "merge/outputs.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "checkpoint/buffers.h"
#include "checkpoint/non_finite.h"
#include "checkpoint/safetensors_writer.h"
#include "comm/agreement.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"

namespace fusegrid {
namespace fs = std::filesystem;
namespace {

constexpr auto kRecords = ".fusegrid";
const std::map<std::string, std::string> kMetadata{{"format", "pt"}};  // transformers refuses files without

// Runs `work` on rank 0, or on every rank, and lets all ranks know how it went.
template <typename Work>
void together(Collectives& group, bool here, const Work& work) {
  on_all_ranks(group, [&] {
    if (here) {
      work();
    }
  });
}

}  // namespace

std::string read_whole(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(in), {}};
  if (!in) {
    throw IoError("cannot read '" + path.string() + "'");
  }
  return content;
}

std::optional<size_t> check_unfinished(const fs::path& out, const std::string& identity) {
  const fs::path partial = out.string() + ".partial";
  const fs::path records = partial / kRecords;
  if (!fs::exists(records / "identity")) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(partial, none)) {
      if (entry.path() != records) {
        throw ConfigError(
            "'" + partial.string() +
            "' is where the merge is made, but something else is there; remove it, or choose another "
            "--out");
      }
    }
    return std::nullopt;
  }
  if (read_whole(records / "identity") != identity) {
    throw ConfigError(
        "'" + partial.string() +
        "' holds an unfinished merge of other inputs, methods or options; finish that one with its own "
        "command, or remove the folder");
  }
  size_t finished = 0;
  for (const auto& entry : fs::directory_iterator(records)) {
    const std::string name = entry.path().filename().string();
    finished += name.find_first_not_of("0123456789-") == std::string::npos ? 1 : 0;  // "<output>-<stage>"
  }
  return finished;
}

// Held by rank 0 as long as the merge runs; the kernel lets go of it when the process ends.
struct MergeOutputs::Lock {
  explicit Lock(const fs::path& path) : fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
    if (fd < 0) {
      throw IoError(system_message("open", path));
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd);
      throw IoError("'" + path.parent_path().parent_path().string() +
                    "' is in use by another merge; wait for it, or choose another --out");
    }
  }
  ~Lock() { ::close(fd); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  int fd;
};

MergeOutputs::MergeOutputs(Setup setup, Collectives& group)
    : setup_(std::move(setup)),
      group_(group),
      partial_(setup_.out.string() + ".partial"),
      output_pieces_(setup_.folders.size()) {
  for (const MergeShard& shard : setup_.layout.shards) {
    const std::string head = safetensors_head(shard.tensors, kMetadata);
    headers_.push_back(parse_safetensors_header(head.substr(kLengthBytes),
                                                static_cast<uint64_t>(shard.bytes()), shard.file));
    data_begin_.push_back(head.size());
  }
  for (const ModelSource* source : setup_.sources) {
    auto& dtypes = dtypes_.emplace_back();
    for (const TensorInfo& info : source->tensors()) {
      dtypes.emplace(info.name, info.dtype);
    }
  }
  together(group_, group_.rank() == 0, [&] { open_partial(); });
  // after rank 0 is through: every rank looks at the same files
  together(group_, true, [&] {
    for (size_t stage = 0; stage < headers_.size(); ++stage) {
      for (size_t output = 0; output < setup_.folders.size(); ++output) {
        if (fs::exists(record(record_name(output, stage))) && fs::exists(file(output, stage))) {
          finished_.insert({output, stage});
        }
      }
      if (fs::exists(record("inputs-" + std::to_string(stage)))) {
        inputs_finished_.insert(stage);
      }
    }
  });
  continued_ = finished_.size();
  together(group_, group_.rank() == 0, [&] { create_files(); });
}

MergeOutputs::~MergeOutputs() = default;

fs::path MergeOutputs::file(size_t output, size_t stage) const {
  return partial_ / setup_.folders[output] / setup_.layout.shards[stage].file;
}

fs::path MergeOutputs::record(const std::string& name) const {
  return partial_ / kRecords / name;
}

std::string MergeOutputs::record_name(size_t output, size_t stage) const {
  return std::to_string(output) + "-" + std::to_string(stage);
}

void MergeOutputs::open_partial() {
  fs::create_directories(partial_ / kRecords);
  lock_ = std::make_unique<Lock>(record("lock"));
  if (!check_unfinished(setup_.out, setup_.identity)) {
    write_atomically(record("identity"), setup_.identity);
  }
}

void MergeOutputs::create_files() {
  for (const std::string& folder : setup_.folders) {
    fs::create_directories(partial_ / folder);
  }
  for (size_t stage = 0; stage < headers_.size(); ++stage) {
    const std::string head = safetensors_head(setup_.layout.shards[stage].tensors, kMetadata);
    for (size_t output = 0; output < setup_.folders.size(); ++output) {
      if (!is_finished(output, stage)) {
        const std::string part = file(output, stage).string() + ".part";
        fs::remove(part);  // it could be a link to an input
        PosixFile created = PosixFile::create(part);
        created.write_at(0, head.data(), head.size());
      }
    }
  }
  sync_folder(partial_);
}

std::set<std::string> MergeOutputs::tensors_of(size_t stage) const {
  std::set<std::string> names;
  for (const TensorInfo& info : setup_.layout.shards[stage].tensors) {
    names.insert(info.name);
  }
  return names;
}

// What `info` is in a source: of the same shape, in its own dtype.
TensorInfo MergeOutputs::stored(size_t source, TensorInfo info) const {
  info.dtype = dtypes_[source].at(info.name);
  return info;
}

PosixFile& MergeOutputs::open(size_t output, size_t stage) {
  const std::scoped_lock lock(mutex_);
  const auto it = files_.find({output, stage});
  if (it != files_.end()) {
    return it->second;
  }
  return files_.emplace(std::pair(output, stage), PosixFile::update(file(output, stage).string() + ".part"))
      .first->second;
}

void MergeOutputs::put(size_t output, size_t stage, const TensorInfo& info, int64_t begin, int64_t count,
                       const void* data) {
  const ByteRange bytes = byte_range(*headers_[stage].find(info.name), begin, count);
  open(output, stage).write_at(data_begin_[stage] + bytes.offset, data, bytes.size);
  if (setup_.digests != Digests::kNone) {
    output_pieces_[output].add(0, info, begin, count, data);
  }
}

void MergeOutputs::write(size_t output, size_t stage, const StreamRange& range, const void* data) {
  const TensorInfo& info = setup_.tensors[range.tensor];
  put(output, stage, info, range.begin, range.count, data);
  if (const int64_t non_finite = count_non_finite(data, info.dtype, range.count); non_finite > 0) {
    const std::scoped_lock lock(mutex_);
    output_non_finite_[{output, range.tensor}] += non_finite;
  }
}

void MergeOutputs::copy_buffers(size_t output, size_t stage) {
  std::vector<char> bytes;
  for (const TensorInfo& info : setup_.layout.shards[stage].tensors) {
    const auto width = static_cast<int64_t>(c10::elementSize(info.dtype));
    for (int64_t begin = 0; is_buffer(info) && begin < info.numel(); begin += kDigestElements) {
      const int64_t count = std::min(kDigestElements, info.numel() - begin);
      bytes.resize(count * width);
      setup_.reference->read_range(info.name, begin, count, bytes.data());
      put(output, stage, info, begin, count, bytes.data());
    }
  }
}

void MergeOutputs::finish(size_t output, size_t stage) {
  together(group_, true, [&] {
    if (group_.rank() == 0) {
      copy_buffers(output, stage);
    }
    if (const auto it = files_.find({output, stage}); it != files_.end()) {
      it->second.sync();
      files_.erase(it);
    }
  });
  auto digests = output_pieces_[output].collect(group_, tensors_of(stage));
  const auto non_finite = over_ranks(output_non_finite_, output, stage);
  together(group_, group_.rank() == 0, [&] {
    // a tensor without elements has no pieces
    nlohmann::json tensors = nlohmann::json::object();
    for (const TensorInfo& info : setup_.layout.shards[stage].tensors) {
      if (setup_.digests != Digests::kNone) {
        tensors[info.name] = info.numel() == 0 ? sha256_hex("") : digests.at(0).at(info.name);
      }
    }
    const fs::path done = file(output, stage);
    rename_synced(done.string() + ".part", done);
    write_atomically(record(record_name(output, stage)),
                     nlohmann::json{{"digests", tensors}, {"non_finite", non_finite}}.dump());
  });
  finished_.insert({output, stage});
}

bool MergeOutputs::wants_inputs(size_t stage) const {
  return !inputs_finished_.contains(stage);
}

void MergeOutputs::see_input(size_t source, const StreamRange& range, const void* data, int64_t non_finite) {
  if (setup_.digests == Digests::kAll) {
    input_pieces_.add(source, stored(source, setup_.tensors[range.tensor]), range.begin, range.count, data);
  }
  if (non_finite > 0) {
    const std::scoped_lock lock(mutex_);
    input_non_finite_[{source, range.tensor}] += non_finite;
  }
}

// Counts of one model's tensors of a stage, added up. Collective.
std::map<std::string, int64_t> MergeOutputs::over_ranks(const Counts& mine, size_t model,
                                                        size_t stage) const {
  const std::set<std::string> names = tensors_of(stage);
  nlohmann::json here = nlohmann::json::object();
  for (const auto& [place, count] : mine) {
    const std::string& name = setup_.tensors[place.second].name;
    if (place.first == model && names.contains(name)) {
      here[name] = count;
    }
  }
  std::map<std::string, int64_t> all;
  for (const std::string& theirs : all_gather_bytes(group_, here.dump())) {
    for (const auto& [name, count] : nlohmann::json::parse(theirs).get<std::map<std::string, int64_t>>()) {
      all[name] += count;
    }
  }
  return all;
}

// The result would be no model: nothing of it is kept.
void MergeOutputs::refuse(const std::vector<std::map<std::string, int64_t>>& non_finite) {
  together(group_, group_.rank() == 0, [&] { fs::remove_all(partial_); });
  for (size_t source = 0; source < non_finite.size(); ++source) {
    if (non_finite[source].empty()) {
      continue;
    }
    const auto& [name, count] = *non_finite[source].begin();
    const size_t others = non_finite[source].size() - 1;
    throw AgreedError(
        ExitCode::kDataCorrupt,
        "the weights of all models must be finite in float32, but " + std::to_string(count) +
            (count == 1 ? " entry" : " entries") + " of tensor '" + name + "' of '" +
            setup_.sources[source]->name() + "' " + (count == 1 ? "is" : "are") + " NaN or infinite" +
            (others > 0 ? ", as are some of " + std::to_string(others) + " of its other tensors" : "") +
            "; give a model that is whole, or add --allow-non-finite: the result then has NaN or "
            "infinity there, and every model counts as 0 in these places");
  }
  FUSEGRID_ASSERT(false, "all is finite");
}

void MergeOutputs::finish_inputs(size_t stage) {
  auto digests = input_pieces_.collect(group_, tensors_of(stage));
  std::vector<std::map<std::string, int64_t>> non_finite;
  for (size_t source = 0; source < setup_.sources.size(); ++source) {
    non_finite.push_back(over_ranks(input_non_finite_, source, stage));
  }
  if (!setup_.allow_non_finite &&
      std::any_of(non_finite.begin(), non_finite.end(), [](const auto& counts) { return !counts.empty(); })) {
    refuse(non_finite);
  }
  together(group_, group_.rank() == 0, [&] {
    nlohmann::json record_text = nlohmann::json::array();
    for (size_t source = 0; source < setup_.sources.size(); ++source) {
      nlohmann::json tensors = nlohmann::json::object();
      for (const TensorInfo& info : setup_.layout.shards[stage].tensors) {
        if (setup_.digests != Digests::kAll || !dtypes_[source].contains(info.name)) {
          continue;  // a buffer that the reference alone has
        }
        auto& known = digests[source];
        const auto it = known.find(info.name);
        tensors[info.name] =
            it != known.end() ? it->second : piecewise_digest(*setup_.sources[source], stored(source, info));
      }
      record_text.push_back({{"digests", tensors}, {"non_finite", non_finite[source]}});
    }
    write_atomically(record("inputs-" + std::to_string(stage)), record_text.dump());
  });
  inputs_finished_.insert(stage);
}

std::map<std::string, std::string> MergeOutputs::output_digests(size_t output) const {
  std::map<std::string, std::string> all;
  for (size_t stage = 0; stage < headers_.size(); ++stage) {
    all.merge(
        read_record(record_name(output, stage)).at("digests").get<std::map<std::string, std::string>>());
  }
  return all;
}

std::map<std::string, std::string> MergeOutputs::input_digests(size_t source) const {
  std::map<std::string, std::string> all;
  for (const size_t stage : inputs_finished_) {
    all.merge(input_record(stage, source).at("digests").get<std::map<std::string, std::string>>());
  }
  return all;
}

std::map<std::string, int64_t> MergeOutputs::output_non_finite(size_t output) const {
  std::map<std::string, int64_t> all;
  for (size_t stage = 0; stage < headers_.size(); ++stage) {
    all.merge(read_record(record_name(output, stage)).at("non_finite").get<std::map<std::string, int64_t>>());
  }
  return all;
}

std::map<std::string, int64_t> MergeOutputs::input_non_finite(size_t source) const {
  std::map<std::string, int64_t> all;
  for (const size_t stage : inputs_finished_) {
    all.merge(input_record(stage, source).at("non_finite").get<std::map<std::string, int64_t>>());
  }
  return all;
}

nlohmann::json MergeOutputs::read_record(const std::string& name) const {
  return nlohmann::json::parse(read_whole(record(name)));
}

nlohmann::json MergeOutputs::input_record(size_t stage, size_t source) const {
  return read_record("inputs-" + std::to_string(stage)).at(source);
}

void MergeOutputs::add_file(size_t output, const fs::path& name, const std::string& content) {
  const fs::path path = partial_ / setup_.folders[output] / name;
  fs::create_directories(path.parent_path());
  write_synced(path, content);
  sync_folder(path.parent_path());
}

void MergeOutputs::copy_file(size_t output, const fs::path& name, const fs::path& from) {
  add_file(output, name, read_whole(from));
}

void MergeOutputs::publish() {
  fs::remove_all(partial_ / kRecords);
  for (const std::string& folder : setup_.folders) {
    sync_folder(partial_ / folder);
  }
  sync_folder(partial_);
  if (fs::exists(setup_.out)) {
    fs::remove(setup_.out);  // an empty folder: the plan has checked that
  }
  rename_synced(partial_, setup_.out);
}

}  // namespace fusegrid
