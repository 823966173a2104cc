// The one door to the HDF5 library: handles that close themselves, errors as exceptions, and the few shapes
// of objects that our files are made of. A failure is a DataError that names the file, the object and what
// the library says. Files come from strangers: what is read is checked for type, size and links first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hdf5.h>

#include "store/table.h"

namespace fusegrid::hdf5 {

// Owns an identifier of the library.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), closer_(other.closer_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(closer_, other.closer_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) {
      closer_(id_);
    }
  }
  hid_t get() const { return id_; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Closer closer_ = nullptr;
};

// A group or a dataset, with its attributes.
class Object {
 public:
  bool has_attribute(const std::string& name) const;
  // Scalar attributes; DataError where they are missing or of another type.
  std::string text_attribute(const std::string& name) const;  // fixed-length string
  int64_t int_attribute(const std::string& name) const;
  double real_attribute(const std::string& name) const;
  void set_attribute(const std::string& name, const std::string& value);
  void set_attribute(const std::string& name, const char* value) { set_attribute(name, std::string(value)); }
  void set_attribute(const std::string& name, int64_t value);
  void set_attribute(const std::string& name, double value);
  std::filesystem::path file() const;  // that holds it, as it was opened
  // "FILE:/path", for messages.
  const std::string& where() const { return where_; }

 protected:
  Object(Handle handle, std::string where) : handle_(std::move(handle)), where_(std::move(where)) {}
  Handle open_attribute(const std::string& name) const;
  Handle handle_;
  std::string where_;
};

// Element types: uint8_t, uint16_t, uint32_t, int32_t, float.
class Dataset : public Object {
 public:
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t num_elements() const;
  // Elements in C order, of rows [begin, begin + count) of the first dimension or of all. DataError where the element
  // type is another one.
  template <typename T>
  void read(int64_t begin, int64_t count, T* out) const;
  template <typename T>
  std::vector<T> read(int64_t begin, int64_t count) const;
  template <typename T>
  std::vector<T> read() const {
    return read<T>(0, shape_[0]);
  }
  // Where in the file the elements stand one after the other, in C order, as bytes of one each: nullopt where they are
  // chunked, filtered, or wider.
  std::optional<uint64_t> offset_of_bytes() const;
  // Fixed-length strings, without their padding.
  std::vector<std::string> read_texts() const;
  // Rows of a compound dataset with exactly these columns.
  Table read_table(const std::vector<ColumnSpec>& columns) const;

 private:
  friend class Group;
  Dataset(Handle handle, std::string where, uint64_t file_bytes);
  void check_storage(uint64_t file_bytes) const;
  std::vector<char> read_rows(hid_t type) const;
  std::vector<int64_t> shape_;
};

class Group : public Object {
 public:
  bool has(const std::string& name) const;
  std::vector<std::string> members() const;  // sorted
  Group group(const std::string& name) const;
  Dataset dataset(const std::string& name) const;
  Group create_group(const std::string& name);
  // Chunked, with shuffle, deflate and Fletcher32; the first dimension may be 0.
  template <typename T>
  Dataset create_array(const std::string& name, std::span<const T> values, const std::vector<int64_t>& shape);
  template <typename T>
  Dataset create_array(const std::string& name, const std::vector<T>& values) {
    return create_array<T>(name, std::span<const T>(values), {static_cast<int64_t>(values.size())});
  }
  Dataset create_texts(const std::string& name, const std::vector<std::string>& values);
  // A compound of little-endian numbers and NUL-padded UTF-8 strings, each as wide as its longest value.
  Dataset create_table(const std::string& name, const Table& table);

 private:
  friend class File;
  Group(Handle handle, std::string where, uint64_t file_bytes)
      : Object(std::move(handle), std::move(where)), file_bytes_(file_bytes) {}
  std::string member(const std::string& name) const;
  void check_link(const std::string& name) const;
  Dataset create_dataset(const std::string& name, hid_t type, const std::vector<int64_t>& shape,
                         const void* values);
  uint64_t file_bytes_ = 0;  // no dataset can hold much more than this
};

class File {
 public:
  // Read only. IoError where the file is missing, DataError where it is no HDF5 file.
  static File open(const std::filesystem::path& path);
  // A new file in memory, so that the caller decides how the bytes reach the disk (the library keeps a file
  // open that it could not write, and tries again at exit). The same calls give the same bytes: nothing in
  // it depends on time.
  static File create();
  Group root() const;
  // Closes a created file and returns its bytes. Groups and datasets of it must be gone.
  std::string finish();

 private:
  struct Image;
  File(Handle handle, std::string where, uint64_t file_bytes, std::shared_ptr<Image> image);
  std::shared_ptr<Image> image_;  // outlives the handle
  Handle handle_;
  std::string where_;
  uint64_t file_bytes_ = 0;
};

}  // namespace fusegrid::hdf5
