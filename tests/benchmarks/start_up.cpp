// Prints how long a run takes from its command to its first forward pass, beside the roof: reading the same bytes once
// with as many threads. What is timed are the steps of `fusegrid run` with one worker, each start in a process of its
// own: loading the program, all checks of the coordinator, opening the zoo, reading a base and all experts, and their
// merge by task arithmetic.
//
//   start_up ZOO [cpu | cuda:0]     (ZOO: name or folder; make_clip_zoo makes a large one)
//
// The first start has no record of the pack's digest, the second has. Files should be in the page cache, as they are
// after make_clip_zoo; else the disk is what is measured. The last line is the row of docs/performance.md.
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <ATen/Parallel.h>

#include "coordinator/cell_data.h"
#include "coordinator/grid.h"
#include "coordinator/launch.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "worker/device.h"
#include "worker/executor.h"
#include "zoo/pack_digest.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlockBytes = size_t{256} << 10;

// Of a clock that all processes of the machine share.
double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What a start reads: the pack and the weights of the base and the experts.
std::vector<fs::path> files_of(const Zoo& zoo) {
  const Replicate& replicate = zoo.replicates.front();
  std::vector<fs::path> files{zoo.pack};
  std::vector<fs::path> folders{replicate.base};
  for (const auto& [name, folder] : replicate.experts) {
    folders.push_back(folder);
  }
  for (const fs::path& folder : folders) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") {
        files.push_back(entry.path());
      }
    }
  }
  return files;
}

struct Piece {
  fs::path file;
  size_t begin = 0;
};

void read_piece(const Piece& piece) {
  std::ifstream in(piece.file, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(piece.begin));
  std::vector<char> buffer(kBlockBytes);
  for (size_t done = 0; done < kDigestPiece && in.read(buffer.data(), std::ssize(buffer));
       done += kBlockBytes) {
  }
}

struct Reading {
  double gigabytes = 0;
  double seconds = 0;
};

Reading read_once(const std::vector<fs::path>& files) {
  std::vector<Piece> pieces;
  double bytes = 0;
  for (const fs::path& file : files) {
    const auto size = static_cast<size_t>(fs::file_size(file));
    bytes += static_cast<double>(size);
    for (size_t i = 0; i < num_digest_pieces(size); ++i) {
      pieces.push_back({file, i * kDigestPiece});
    }
  }
  const double begin = seconds();
  in_parallel(reading_threads(), pieces.size(), [&](size_t i) { read_piece(pieces[i]); });
  return {bytes / 1e9, seconds() - begin};
}

// One start of a run, in this process. begun: when the command was given. Prints the seconds to the first forward pass.
void start(const std::string& zoo_name, const std::string& device, double begun) {
  const double loaded = seconds();
  at::set_num_threads(1);
  const JobSpec job = parse_job("zoo = " + zoo_name + "\ntask = " + find_zoo(zoo_name).tasks.front() +
                                    "\nvalidation = 8\n[task_arithmetic]\n",
                                "start_up.cfg");
  const JobZoos zoos = load_zoos(job);
  const auto cells = expand(job, zoos);
  for (const auto& [text, zoo] : zoos) {
    check_data(cells, zoo, pack_contents(zoo));
    record_pack_digest(zoo);
    check_layouts(zoo, zoo.replicates.front());
  }
  const auto bindings = launch_bindings(job, cells, zoos);
  auto settings = grid_settings(job, zoos, {fs::temp_directory_path(), int64_t{1} << 33}, 0, bindings);
  settings["splits"] = {"val"};
  const double checked = seconds();
  if (device != "cpu") {
    load_cuda();
  }
  const double opened = seconds();
  Progress progress;
  const auto executor = executor_registry().at("grid")({settings, device, 1, &progress});
  const Result result = executor->run(cells.front().name(), progress);
  const double ready = seconds() - result.costs.at("evaluate_s");
  std::cerr << "  loading the program " << loaded - begun << " s, checks " << checked - loaded
            << " s, device " << opened - checked << " s, zoo and models "
            << ready - opened - result.costs.at("fuse_s") << " s, merge with its digest "
            << result.costs.at("fuse_s") << " s\n";
  std::cout << ready - begun << '\n';
}

double start_in_a_process(const std::string& program, const std::string& zoo, const std::string& device) {
  const std::string command =
      "'" + program + "' --start '" + zoo + "' " + device + " " + number_text(seconds());
  FILE* const pipe = popen(command.c_str(), "r");
  std::array<char, 64> line{};
  const bool read = pipe != nullptr && fgets(line.data(), line.size(), pipe) != nullptr;
  if (pipe == nullptr || pclose(pipe) != 0 || !read) {
    throw IoError("a start failed; its message stands above");
  }
  return std::stod(line.data());
}

void measure(const std::string& program, const std::string& zoo_name, const std::string& device) {
  const Zoo zoo = find_zoo(zoo_name);
  const auto files = files_of(zoo);
  read_once(files);
  const Reading roof = read_once(files);
  fs::remove(pack_record(zoo));
  const double first = start_in_a_process(program, zoo_name, device);
  if (!fs::exists(pack_record(zoo))) {
    throw IoError(
        "the first start left no record of the pack's digest: the pack was made less than two seconds ago, "
        "or "
        "the zoo's folder cannot be written; start again");
  }
  const double again = start_in_a_process(program, zoo_name, device);
  std::cout << "| " << fs::file_size(zoo.pack) / 1'000'000 << " MB and " << files.size() - 1 << " models, "
            << reading_threads() << " threads, " << device << " | " << roof.seconds << " s ("
            << roof.gigabytes / roof.seconds << " GB/s) | " << first << " s | " << again << " s |\n";
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;  // NOLINT(google-build-using-namespace): a main function
  try {
    if (argc == 5 && std::string(argv[1]) == "--start") {
      start(argv[2], argv[3], std::stod(argv[4]));
      return 0;
    }
    if (argc < 2) {
      std::cerr << "usage: start_up ZOO [cpu | cuda:0]\n";
      return 1;
    }
    measure(argv[0], argv[1], argc > 2 ? argv[2] : "cpu");
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
