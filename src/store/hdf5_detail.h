// What the reading and the writing half of hdf5.h share.
#pragma once

#include <string>

#include "core/errors.h"
#include "store/hdf5.h"

namespace fusegrid::hdf5::detail {

// What the library says about the last failure, from the outermost to the innermost call.
std::string error_text();

[[noreturn]] inline void fail(const std::string& where, const std::string& what) {
  throw DataError(where + ": " + what);
}

// Negative results of the library are failures.
template <typename T>
T check(T result, const std::string& where, const char* what) {
  if (result < 0) {
    fail(where, std::string("cannot ") + what + " (" + error_text() + ")");
  }
  return result;
}

Handle property_list(hid_t kind);
// Of opening and creating files.
Handle access_list();
// Fixed length, UTF-8, padded with NUL.
Handle text_type(size_t width);
// The little-endian type of a column of numbers.
hid_t number_type(ColumnType type);

// The little-endian type of an array's elements.
template <typename T>
hid_t element_type();
template <>
inline hid_t element_type<uint8_t>() {
  return H5T_STD_U8LE;
}
template <>
inline hid_t element_type<uint16_t>() {
  return H5T_STD_U16LE;
}
template <>
inline hid_t element_type<uint32_t>() {
  return H5T_STD_U32LE;
}
template <>
inline hid_t element_type<int32_t>() {
  return H5T_STD_I32LE;
}
template <>
inline hid_t element_type<float>() {
  return H5T_IEEE_F32LE;
}

// Where a column lies in a row.
struct Field {
  size_t offset = 0;
  size_t width = 0;
};

}  // namespace fusegrid::hdf5::detail
