// Flips one bit of every byte of a results folder's files and reads them as `fusegrid verify` and `fusegrid report` do:
// each flip must be found, or change nothing that is read.
//
//   flips FOLDER [MOST]     of results.h5 only MOST bytes, evenly spread
//
// Three tables: the journal; results.h5 beside its journal; results.h5 alone, as a report can be made of a copy. Exit
// status 1 if a flip passed in silence; then its offset is printed.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>

#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/text.h"
#include "store/ledger.h"
#include "store/result_store.h"
#include "store/results_file.h"
#include "store/verify.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kLongestRead_s = 60;

std::string read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::ssize(bytes));
}

// Of one sweep; shared with the children that read.
struct Counts {
  size_t next = 0;  // position
  int64_t flips = 0, by_verify = 0, by_reader = 0, unchanged = 0, silent = 0;
};

// What a report is made of.
std::string text_of(const Records& records) {
  std::string text;
  for (const auto& [type, payload] : frames_of(records)) {
    text += std::to_string(static_cast<int>(type));
    nlohmann::json::to_cbor(payload, text);
  }
  return text;
}

bool finds(const std::function<void()>& read) {
  try {
    read();
    return false;
  } catch (const Error&) {
    return true;
  }
}

// A flip in the journal's last frame looks like a kill in it: verify says so.
void verify(const fs::path& folder) {
  for (const std::string& line : verify_in_process(folder)) {
    if (line.find("are no whole frame") != std::string::npos) {
      throw DataError(line);
    }
  }
}

void flip_at(const fs::path& folder, const fs::path& file, const std::string& whole, bool alone,
             const std::string& expected, Counts& counts) {
  const size_t at = counts.next;
  ++counts.flips;
  std::string flipped = whole;
  flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
  write_bytes(file, flipped);
  const auto read = [&] {
    return text_of(alone ? records_of(decode_results_file(file)) : ResultStore::read(folder)->records());
  };
  std::string now;
  const bool reader_finds = finds([&] { now = read(); });
  if (!alone && finds([&] { verify(folder); })) {
    ++counts.by_verify;
  } else if (reader_finds) {
    ++counts.by_reader;
  } else if (now == expected) {
    ++counts.unchanged;
  } else {
    ++counts.silent;
    std::cout << file.filename().string() << ": the flip of byte " << at << " passes in silence\n";
  }
}

// Flips in a child: the HDF5 library may crash, and fusegrid reads in a process of its own for that. Returns the number
// of silent flips.
int64_t sweep(const std::string& what, const fs::path& folder, const std::string& name, bool alone,
              size_t most) {
  const fs::path file = folder / name;
  const std::string whole = read_bytes(file);
  const std::string expected =
      text_of(alone ? records_of(decode_results_file(file)) : ResultStore::read(folder)->records());
  const size_t stride = most == 0 || most > whole.size() ? 1 : whole.size() / most;
  auto& counts = *new (
      ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Counts;
  int64_t crashes = 0;
  while (counts.next < whole.size()) {
    std::cout.flush();
    const pid_t child = ::fork();
    if (child == 0) {
      for (; counts.next < whole.size(); counts.next += stride) {
        ::alarm(kLongestRead_s);
        flip_at(folder, file, whole, alone, expected, counts);
      }
      std::cout.flush();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      ++crashes;
      counts.next += stride;
    }
  }
  write_bytes(file, whole);
  std::cout << what << ": " << whole.size() << " bytes, " << counts.flips << " flips: " << counts.by_verify
            << " found by verify, " << counts.by_reader << " by the reader of reports, " << crashes
            << " crashed the guarded reader, " << counts.unchanged << " changed nothing, " << counts.silent
            << " silent\n";
  return counts.silent;
}

int run(const std::vector<std::string>& words) {
  if (words.empty() || words.size() > 2) {
    throw UsageError("usage: flips FOLDER [MOST]");
  }
  const fs::path from = words[0];
  const size_t most = words.size() > 1 ? static_cast<size_t>(parse_int(words[1], "MOST")) : 0;
  const fs::path folder = "/dev/shm/fusegrid-flips-" + std::to_string(::getpid());
  fs::create_directories(folder);
  for (const char* name : {"journal", "results.h5"}) {
    fs::copy_file(from / name, folder / name);
  }
  int64_t silent = sweep("journal", folder, "journal", false, 0);
  silent += sweep("results.h5", folder, "results.h5", false, most);
  silent += sweep("results.h5 alone", folder, "results.h5", true, most);
  fs::remove_all(folder);
  return silent == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  try {
    return fusegrid::run({argv + 1, argv + argc});
  } catch (const fusegrid::Error& error) {
    std::cerr << "flips: error: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}
