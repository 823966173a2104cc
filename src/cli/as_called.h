// Messages and help say `fusegrid run ...`. Where they are printed, the program is named as this user called it, so
// that a line can be copied: ./fusegrid run ..., build/release/src/fusegrid run ....
#pragma once

#include <string>

namespace fusegrid {

// Remembers the program's name: $FUSEGRID_COMMAND, which the script `fusegrid` sets to its own, else argv[0].
void remember_call(const std::string& program);

// `text` with the program's name in front of every command of it. Without remember_call() it is left as it is.
std::string as_called(const std::string& text);

}  // namespace fusegrid
