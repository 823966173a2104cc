#include "support/source_folder.h"

namespace fusegrid {

std::filesystem::path source_folder() {
  return FUSEGRID_SOURCE_DIR;
}

}  // namespace fusegrid
