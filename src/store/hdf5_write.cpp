#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "core/errors.h"
#include "store/hdf5.h"
#include "store/hdf5_detail.h"

namespace fusegrid::hdf5 {
namespace {

using namespace detail;  // NOLINT(google-build-using-namespace): our own

constexpr size_t kChunkBytes = size_t{64} * 1024;

// Columns one behind the other; texts as wide as their longest value.
std::pair<Handle, std::vector<Field>> row_type(const Table& table) {
  std::vector<Field> fields;
  size_t size = 0;
  for (size_t c = 0; c < table.columns().size(); ++c) {
    size_t width = 8;
    if (table.columns()[c].type == ColumnType::kText) {
      width = 1;
      for (size_t r = 0; r < table.num_rows(); ++r) {
        width = std::max(width, table.text(r, table.columns()[c].name).size());
      }
    }
    fields.push_back({size, width});
    size += width;
  }
  Handle type(H5Tcreate(H5T_COMPOUND, size), H5Tclose);
  for (size_t c = 0; c < fields.size(); ++c) {
    const auto& column = table.columns()[c];
    const Handle text = column.type == ColumnType::kText ? text_type(fields[c].width) : Handle();
    const hid_t member = column.type == ColumnType::kText ? text.get() : number_type(column.type);
    check(H5Tinsert(type.get(), column.name.c_str(), fields[c].offset, member), column.name,
          "declare column");
  }
  return {std::move(type), std::move(fields)};
}

void store_value(const Value& value, char* out) {
  std::visit(
      [&](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) {
          std::copy(v.begin(), v.end(), out);
        } else {
          std::memcpy(out, &v, sizeof(v));
        }
      },
      value);
}

void write_attribute(hid_t object, const std::string& where, const std::string& name, hid_t type,
                     const void* value) {
  const Handle space(check(H5Screate(H5S_SCALAR), where, "create a dataspace"), H5Sclose);
  const Handle attribute(check(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                               where, "create an attribute"),
                         H5Aclose);
  check(H5Awrite(attribute.get(), type, value), where, "write an attribute");
}

}  // namespace

void Object::set_attribute(const std::string& name, const std::string& value) {
  const Handle type = text_type(std::max<size_t>(value.size(), 1));
  write_attribute(handle_.get(), where_, name, type.get(), value.c_str());
}
void Object::set_attribute(const std::string& name, int64_t value) {
  write_attribute(handle_.get(), where_, name, H5T_STD_I64LE, &value);
}
void Object::set_attribute(const std::string& name, double value) {
  write_attribute(handle_.get(), where_, name, H5T_IEEE_F64LE, &value);
}

Group Group::create_group(const std::string& name) {
  const Handle list = property_list(H5P_GROUP_CREATE);
  check(H5Pset_obj_track_times(list.get(), false), where_, "switch off time stamps");
  const hid_t id = H5Gcreate2(handle_.get(), name.c_str(), H5P_DEFAULT, list.get(), H5P_DEFAULT);
  return {Handle(check(id, member(name), "create the group"), H5Gclose), member(name), file_bytes_};
}

Dataset Group::create_dataset(const std::string& name, hid_t type, const std::vector<int64_t>& shape,
                              const void* values) {
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  auto max_extents = extents;
  max_extents[0] = H5S_UNLIMITED;
  auto chunk = extents;
  size_t row_bytes = H5Tget_size(type);
  for (size_t i = 1; i < chunk.size(); ++i) {
    row_bytes *= chunk[i];
  }
  const hsize_t most = std::max<hsize_t>(1, kChunkBytes / std::max<size_t>(row_bytes, 1));
  chunk[0] = std::clamp<hsize_t>(extents[0], 1, most);  // a chunk is compressed whole, used or not
  const int rank = static_cast<int>(extents.size());
  const Handle space(H5Screate_simple(rank, extents.data(), max_extents.data()), H5Sclose);
  const Handle list = property_list(H5P_DATASET_CREATE);
  const bool ok = H5Pset_obj_track_times(list.get(), false) >= 0 &&
                  H5Pset_chunk(list.get(), rank, chunk.data()) >= 0 && H5Pset_shuffle(list.get()) >= 0 &&
                  H5Pset_deflate(list.get(), 4) >= 0 && H5Pset_fletcher32(list.get()) >= 0;
  check(ok ? 0 : -1, member(name), "declare the dataset");
  const hid_t id =
      H5Dcreate2(handle_.get(), name.c_str(), type, space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT);
  Handle dataset(check(id, member(name), "create the dataset"), H5Dclose);
  if (extents[0] > 0) {
    check(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), member(name), "write");
    check(H5Dflush(dataset.get()), member(name), "write");
  }
  return {std::move(dataset), member(name), file_bytes_};
}

template <typename T>
Dataset Group::create_array(const std::string& name, std::span<const T> values,
                            const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) {
    count *= extent;
  }
  FUSEGRID_ASSERT(count == static_cast<int64_t>(values.size()), "the shape of " + name + " does not fit");
  return create_dataset(name, element_type<T>(), shape, values.data());
}

template Dataset Group::create_array<uint8_t>(const std::string&, std::span<const uint8_t>,
                                              const std::vector<int64_t>&);
template Dataset Group::create_array<uint16_t>(const std::string&, std::span<const uint16_t>,
                                               const std::vector<int64_t>&);
template Dataset Group::create_array<uint32_t>(const std::string&, std::span<const uint32_t>,
                                               const std::vector<int64_t>&);
template Dataset Group::create_array<int32_t>(const std::string&, std::span<const int32_t>,
                                              const std::vector<int64_t>&);
template Dataset Group::create_array<float>(const std::string&, std::span<const float>,
                                            const std::vector<int64_t>&);

Dataset Group::create_texts(const std::string& name, const std::vector<std::string>& values) {
  size_t width = 1;
  for (const auto& value : values) {
    width = std::max(width, value.size());
  }
  std::vector<char> buffer(width * values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    std::memcpy(buffer.data() + i * width, values[i].data(), values[i].size());
  }
  return create_dataset(name, text_type(width).get(), {static_cast<int64_t>(values.size())}, buffer.data());
}

Dataset Group::create_table(const std::string& name, const Table& table) {
  const auto [type, fields] = row_type(table);
  const size_t row_size = H5Tget_size(type.get());
  std::vector<char> buffer(row_size * table.num_rows());
  for (size_t r = 0; r < table.num_rows(); ++r) {
    for (size_t c = 0; c < fields.size(); ++c) {
      store_value(table.value(r, c), buffer.data() + r * row_size + fields[c].offset);
    }
  }
  return create_dataset(name, type.get(), {static_cast<int64_t>(table.num_rows())}, buffer.data());
}

// The memory of a created file. The library has a call that copies a file's image, but with this format the
// copy does not open (1.10.8 clears a flag in it without its checksum): so we keep what it leaves at close.
struct File::Image {
  void* memory = nullptr;
  size_t size = 0;
  bool closed = false;
  ~Image() { std::free(memory); }
  static Image& of(void* data) { return *static_cast<Image*>(data); }
};

File File::create() {
  auto image = std::make_shared<Image>();
  H5FD_file_image_callbacks_t callbacks{};
  callbacks.image_realloc = [](void*, size_t size, H5FD_file_image_op_t, void* data) -> void* {
    auto& kept = Image::of(data);
    void* memory = std::realloc(kept.memory, size);
    if (memory != nullptr) {
      kept.memory = memory;
      kept.size = size;
    }
    return memory;
  };
  callbacks.image_free = [](void*, H5FD_file_image_op_t, void* data) -> herr_t {
    Image::of(data).closed = true;  // the memory stays ours
    return 0;
  };
  callbacks.udata_copy = [](void* data) { return data; };
  callbacks.udata_free = [](void*) -> herr_t { return 0; };
  callbacks.udata = image.get();
  const Handle list = access_list();
  check(H5Pset_fapl_core(list.get(), 1 << 20, false), "HDF5", "choose the memory driver");
  check(H5Pset_file_image_callbacks(list.get(), &callbacks), "HDF5", "set the image callbacks");
  const Handle creation = property_list(H5P_FILE_CREATE);
  check(H5Pset_obj_track_times(creation.get(), false), "HDF5", "switch off time stamps");
  const hid_t id = H5Fcreate("(new file)", H5F_ACC_TRUNC, creation.get(), list.get());
  // A dataset read back from a file in memory is as large as it was written.
  return {Handle(check(id, "HDF5", "create a file in memory"), H5Fclose), "(new file)",
          std::numeric_limits<uint64_t>::max(), image};
}

std::string File::finish() {
  FUSEGRID_ASSERT(image_ != nullptr, "only created files are finished");
  const hid_t id = handle_.get();
  check(H5Fflush(id, H5F_SCOPE_GLOBAL), where_, "complete the file");
  handle_ = Handle();
  FUSEGRID_ASSERT(image_->closed && image_->size >= 48, "HDF5 has not closed the file");
  // The memory grows in steps of 1 MiB; the superblock (version 2 or 3) says where the file ends.
  const auto* bytes = static_cast<const char*>(image_->memory);
  constexpr size_t kVersionAt = 8;
  constexpr size_t kEndAt = 28;
  FUSEGRID_ASSERT(bytes[kVersionAt] == 2 || bytes[kVersionAt] == 3, "unknown superblock");
  uint64_t end = 0;
  std::memcpy(&end, bytes + kEndAt, sizeof(end));
  FUSEGRID_ASSERT(end <= image_->size, "the file ends outside its memory");
  return {bytes, end};
}

}  // namespace fusegrid::hdf5
