#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace fusegrid {

// Reads a file or folder that may have been made to crash the HDF5 library, in a process of its own: the program
// starts itself again, since a process that is only forked off an MPI rank or a CUDA process, without exec, may hang
// or corrupt them. Defined once for each kind of reading, at namespace scope, under a name of its own.
class GuardedReader {
 public:
  using Work = std::string (*)(const std::filesystem::path&);
  GuardedReader(const std::string& name, Work work);

  // The bytes that the work returns. An Error that it throws is thrown again here as the same kind; a process that
  // crashes or takes more than `limit_s` seconds is a DataError naming the path, one that was ended from outside or
  // could not start an IoError.
  std::string operator()(const std::filesystem::path& path, unsigned limit_s = 600) const;

 private:
  std::string name_;
};

// What main() of a program with guarded readers does first: in a process that a reader has started, its work, whose
// exit status is returned.
std::optional<int> serve_guarded_reader(int argc, char** argv);

}  // namespace fusegrid
