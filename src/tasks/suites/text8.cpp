// The eight text tasks that small models learn. The examples are in data/text.h5, made by tools/make_text_pack.py
// small.

#include "tasks/text_tasks.h"

namespace fusegrid::suites::text8 {
namespace {

const bool registered = [] {
  suite_registry().add("text8", {"text8", "text.h5", "tools/make_text_pack.py small; licences in data/NOTICE",
                                 learnable_text_tasks()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::text8
