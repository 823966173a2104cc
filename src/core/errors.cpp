#include "core/errors.h"

#include <cstdio>
#include <cstdlib>

namespace fusegrid {

void assertion_failed(const char* expression, const char* file, int line, const std::string& details) {
  std::fprintf(stderr, "fusegrid: broken invariant %s at %s:%d: %s\nThis is a bug of fusegrid.\n", expression,
               file, line, details.c_str());
  std::abort();
}

}  // namespace fusegrid
