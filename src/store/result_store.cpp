#include "store/result_store.h"

#include <cerrno>
#include <csignal>
#include <regex>
#include <utility>

#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/text.h"
#include "store/file.h"
#include "store/guarded_reader.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/results_file.h"
#include "store/view.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kJournal = "journal";
constexpr auto kResults = "results.h5";

FrameVisitor into(Ledger& ledger) {
  return [&ledger](FrameType type, uint64_t sequence, const json& payload) {
    ledger.apply(type, sequence, payload);
  };
}

fs::path create_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    throw IoError("cannot create the results folder '" + folder.string() +
                  "': " + (error ? error.message() : "it is a file"));
  }
  return fs::canonical(folder);
}

// The store of one folder; `journal_` and `lock_` are missing where it is only read.
class FolderStore final : public ResultStore {
 public:
  FolderStore(const fs::path& folder, const RunInfo& run)
      : folder_(create_folder(folder)), lock_(std::make_unique<FolderLock>(folder_)) {
    check_folder();
    const auto view = view_sha256(folder_);
    auto journal = std::make_unique<Journal>(folder_ / kJournal, into(ledger_));
    const auto unnoted = view ? check_view(folder_, *view, ledger_) : std::nullopt;
    check_run(run);
    journal_ = std::move(journal);
    remove_temporaries();
    if (unnoted) {
      append(FrameType::kPublish, publish_payload(*unnoted));
    }
    start_run(run);
  }

  explicit FolderStore(const fs::path& folder) : folder_(folder) {
    if (!fs::exists(folder_ / kJournal)) {
      throw IoError("'" + folder.string() + "' holds no results: it has no file '" + kJournal + "'");
    }
    const auto view = view_sha256(folder_);
    replay_journal(folder_ / kJournal, into(ledger_));
    if (view) {
      check_view(folder_, *view, ledger_);
    }
  }

  ~FolderStore() override {
    if (journal_ != nullptr) {
      try {
        journal_->append(FrameType::kClose, json::object());
        journal_->flush();
      } catch (const Error&) {
        // The frame only says that the run ended in order; what was flushed is safe without it.
      }
    }
  }

  FolderStore(const FolderStore&) = delete;
  FolderStore& operator=(const FolderStore&) = delete;

  const Records& records() const override { return ledger_.records; }

  void record(const Result& result) override {
    check_result(result);
    if (!ledger_.is_settled(result)) {
      append(FrameType::kResult, result);
    }
  }

  void record_examples(const ExamplesRecord& examples) override {
    if (!ledger_.records.examples.contains(examples.key())) {
      append(FrameType::kExamples, examples_payload(examples));
    }
  }

  void record_plan(const std::string& job, const std::vector<std::string>& items) override {
    const auto known = ledger_.records.plans.find(job);
    if (known == ledger_.records.plans.end() || known->second != items) {
      append(FrameType::kPlan, plan_payload(job, items));
    }
  }

  void forget(const std::vector<std::string>& names) override {
    if (!names.empty()) {
      append(FrameType::kForget, forget_payload(names));
    }
  }

  void flush() override { journal().flush(); }

  void publish() override {
    const fs::path target = folder_ / kResults;
    if (!changed_ && fs::exists(target)) {
      return;
    }
    flush();  // the view never holds what the journal could still lose
    const auto content = make_results_file(ledger_.records, ledger_.changed);
    const std::string bytes = encode_results_file(content);
    const TemporaryPath temporary(target);  // not published by itself: each step is one that tests can break
    write_and_check(temporary.path(), bytes, content);
    rename_file(temporary.path(), target);
    sync_names(folder_);
    append(FrameType::kPublish, publish_payload({content.sequence, sha256_hex(bytes)}));
    flush();
    changed_ = false;
  }

 private:
  Journal& journal() {
    FUSEGRID_ASSERT(journal_ != nullptr, "a store that was opened to be read is written");
    return *journal_;
  }

  void append(FrameType type, const json& payload) {
    ledger_.apply(type, journal().append(type, payload), payload);
    changed_ = true;
  }

  void check_folder() const {
    if (fs::exists(folder_ / kResults) && !fs::exists(folder_ / kJournal)) {
      throw DataError("'" + folder_.string() +
                      "' holds a results.h5 without its journal; it would be overwritten with an empty one. "
                      "Restore the journal, or choose another folder");
    }
  }

  // Of killed runs and reports: the view's, which only the holder of the lock writes, and those of other files where
  // the process in their name is no more.
  void remove_temporaries() const {
    static const std::regex of_process(R"(.*\.tmp\.([1-9][0-9]{0,8}))");
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      std::smatch process;
      if (std::regex_match(name, process, of_process) &&
          (entry.path().string().starts_with(TemporaryPath::stem(folder_ / kResults)) ||
           (::kill(std::stoi(process[1]), 0) != 0 && errno == ESRCH))) {
        std::error_code ignored;  // in nobody's way
        fs::remove(entry.path(), ignored);
      }
    }
  }

  // Before anything is changed.
  void check_run(const RunInfo& run) const {
    const std::string kind = ledger_.records.kind();
    if (!ledger_.records.runs.empty() && kind != run.kind) {
      throw DataError("'" + (folder_ / kJournal).string() + "' holds results of the kind '" + kind +
                      "', but this run makes '" + run.kind + "'; choose another folder");
    }
    check_bindings(ledger_.records, run);
  }

  void start_run(RunInfo run) {
    if (run.provenance.is_null()) {
      run.provenance = json::object();
    }
    if (run.provenance.is_object() && !run.provenance.contains("started")) {
      run.provenance["started"] = utc_now();
    }
    append(FrameType::kOpen, open_payload(run));
    flush();
  }

  static void write_and_check(const fs::path& temporary, const std::string& bytes,
                              const ResultsFile& content) {
    File file(temporary, File::Mode::kCreate);
    file.append(bytes);
    file.sync();
    if (file.read_all() != bytes) {
      throw IoError("'" + temporary.string() + "' reads back differently than it was written");
    }
    compare_results_files(content, decode_results_file(temporary), temporary.string());
  }

  fs::path folder_;
  std::unique_ptr<FolderLock> lock_;
  Ledger ledger_;
  std::unique_ptr<Journal> journal_;
  bool changed_ = false;  // since the last publication
};

const GuardedReader read_metrics_digest("metrics_digest", [](const fs::path& results_h5) {
  return metrics_digest(decode_results_file(results_h5).metrics);
});

const GuardedReader read_results("results", [](const fs::path& results_h5) {
  json frames = json::array();
  for (auto& [type, payload] : frames_of(records_of(decode_results_file(results_h5)))) {
    frames.push_back({static_cast<uint16_t>(type), std::move(payload)});
  }
  std::string cbor;
  json::to_cbor(frames, cbor);
  return cbor;
});

}  // namespace

std::unique_ptr<ResultStore> ResultStore::open(const fs::path& folder, const RunInfo& run) {
  return std::make_unique<FolderStore>(folder, run);
}

std::unique_ptr<ResultStore> ResultStore::read(const fs::path& folder) {
  return std::make_unique<FolderStore>(folder);
}

std::string metrics_sha256(const fs::path& results_h5) {
  return read_metrics_digest(results_h5);
}

Records read_results_h5(const fs::path& results_h5) {
  Ledger ledger;
  uint64_t sequence = 0;
  for (const json& frame : json::from_cbor(read_results(results_h5))) {
    ledger.apply(static_cast<FrameType>(frame.at(0).get<uint16_t>()), ++sequence, frame.at(1));
  }
  return std::move(ledger.records);
}

}  // namespace fusegrid
