// All text tasks, with more examples. The examples are in text_medium.h5, which is not committed:
// tools/make_text_pack.py medium makes it.

#include "tasks/text_tasks.h"

namespace fusegrid::suites::text10 {
namespace {

const bool registered = [] {
  suite_registry().add("text10",
                       {"text10", "text_medium.h5", "tools/make_text_pack.py medium; licences in data/NOTICE",
                        all_text_tasks()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::text10
