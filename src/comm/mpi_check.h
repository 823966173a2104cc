#pragma once

// The C++ bindings of MPI 2, which nobody uses, are not worth their warnings.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace fusegrid {

// Every MPI call goes through this: prints call, rank and error, then ends all ranks. An MPI library promises
// nothing after an error, so that nothing is recovered in place; the same command continues the campaign.
void check_mpi(int code, const char* call);

}  // namespace fusegrid
