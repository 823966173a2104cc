#pragma once

#include <string>

namespace fusegrid {

// What the program knows of its own making. The values are written by cmake/BuildFacts.cmake.
struct BuildFacts {
  std::string version;   // of fusegrid
  std::string revision;  // git commit, or "unknown"
  bool dirty = false;    // tracked files differed from that commit
  std::string mpi;       // "mpirun (Open MPI) 4.1.4"
  std::string hdf5;
  std::string nccl;          // or "none"
  std::string compiler;      // "GNU 12.2.0"
  std::string build_type;    // "Release"
  std::string architecture;  // of -march, or ""
};
const BuildFacts& build_facts();

}  // namespace fusegrid
