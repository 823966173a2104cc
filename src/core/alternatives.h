#pragma once

#include <string>
#include <vector>

namespace fusegrid {

// What follows "there is no task 'mnits'": "; did you mean 'mnist'? Known: ..." or ". Known: ...".
std::string alternatives(const std::string& name, const std::vector<std::string>& known);

}  // namespace fusegrid
