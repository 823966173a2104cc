#include "store/result_store.h"

#include <utility>

#include <unistd.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "store/file.h"
#include "store/guarded_reader.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/results_file.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto kJournal = "journal";
constexpr auto kResults = "results.h5";
constexpr auto kTemporary = "results.h5.tmp.";

FrameVisitor into(Ledger& ledger) {
  return [&ledger](FrameType type, uint64_t, const json& payload) { ledger.apply(type, payload); };
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
    journal_ = std::make_unique<Journal>(folder_ / kJournal, into(ledger_));
    remove_temporaries();
    start_run(run);
  }

  explicit FolderStore(const fs::path& folder) : folder_(folder) {
    if (!fs::exists(folder_ / kJournal)) {
      throw IoError("'" + folder.string() + "' holds no results: it has no file '" + kJournal + "'");
    }
    replay_journal(folder_ / kJournal, into(ledger_));
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

  const std::map<std::string, Result>& results() const override { return ledger_.results; }
  const std::vector<RunInfo>& runs() const override { return ledger_.runs; }

  void record(const Result& result) override {
    check_result(result);
    if (!ledger_.is_settled(result.name)) {
      append(FrameType::kResult, result);
    }
  }

  void flush() override { journal().flush(); }

  void publish() override {
    const fs::path target = folder_ / kResults;
    if (!changed_ && fs::exists(target)) {
      return;
    }
    flush();  // the view never holds what the journal could still lose
    const auto content = make_results_file(ledger_.results, ledger_.runs, journal().sequence());
    const std::string bytes = encode_results_file(content);
    const fs::path temporary = folder_ / (kTemporary + std::to_string(::getpid()));
    try {
      write_and_check(temporary, bytes, content);
      rename_file(temporary, target);
    } catch (...) {
      std::error_code ignored;
      fs::remove(temporary, ignored);
      throw;
    }
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
    journal().append(type, payload);
    ledger_.apply(type, payload);
    changed_ = true;
  }

  void check_folder() const {
    if (fs::exists(folder_ / kResults) && !fs::exists(folder_ / kJournal)) {
      throw DataError("'" + folder_.string() +
                      "' holds a results.h5 without its journal; it would be overwritten with an empty one. "
                      "Restore the journal, or choose another folder");
    }
  }

  void remove_temporaries() const {
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().filename().string().rfind(kTemporary, 0) == 0) {
        std::error_code ignored;  // of a killed run; in nobody's way
        fs::remove(entry.path(), ignored);
      }
    }
  }

  void start_run(RunInfo run) {
    if (!ledger_.runs.empty() && ledger_.kind() != run.kind) {
      throw DataError("'" + (folder_ / kJournal).string() + "' holds results of the kind '" + ledger_.kind() +
                      "', but this run makes '" + run.kind + "'; choose another folder");
    }
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
  std::string cbor;
  json::to_cbor(json(results_of(decode_results_file(results_h5))), cbor);
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

std::vector<Result> read_results_h5(const fs::path& results_h5) {
  return json::from_cbor(read_results(results_h5)).get<std::vector<Result>>();
}

}  // namespace fusegrid
