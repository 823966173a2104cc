#pragma once

#include <functional>
#include <string>

namespace fusegrid {

// Runs `work` in a forked child and returns the bytes that it returned: a crash of the HDF5 library on a
// damaged or crafted file ends the child only. An Error of fusegrid thrown by `work` is thrown again here as
// the same kind; a child that dies or takes more than `limit_s` seconds is a DataError that begins with
// `what`.
std::string run_in_child(const std::string& what, const std::function<std::string()>& work,
                         unsigned limit_s = 600);

}  // namespace fusegrid
