#include "store/hdf5.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "core/errors.h"
#include "store/hdf5_detail.h"

namespace fusegrid::hdf5 {
namespace detail {

std::string error_text() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_DOWNWARD,
      [](unsigned, const H5E_error2_t* error, void* data) -> herr_t {
        auto& out = *static_cast<std::string*>(data);
        out += (out.empty() ? "" : ": ") + std::string(error->desc == nullptr ? "" : error->desc);
        return 0;
      },
      &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "the HDF5 library gives no reason" : text;
}

Handle property_list(hid_t kind) {
  return {check(H5Pcreate(kind), "HDF5", "create a property list"), H5Pclose};
}

// V110 and no later: its metadata has checksums, and every HDF5 since 1.10 reads it.
Handle access_list() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // errors become exceptions, not text on stderr
  Handle list = property_list(H5P_FILE_ACCESS);
  check(H5Pset_libver_bounds(list.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "HDF5", "set the format");
  check(H5Pset_fclose_degree(list.get(), H5F_CLOSE_STRONG), "HDF5", "set the closing rule");
  // Some parallel file systems have no locks; files of ours are never changed in place.
  check(H5Pset_file_locking(list.get(), true, true), "HDF5", "set the locking rule");
  return list;
}

Handle text_type(size_t width) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  const bool ok = H5Tset_size(type.get(), width) >= 0 && H5Tset_strpad(type.get(), H5T_STR_NULLPAD) >= 0 &&
                  H5Tset_cset(type.get(), H5T_CSET_UTF8) >= 0;
  FUSEGRID_ASSERT(ok, "no string type of width " + std::to_string(width));
  return type;
}

hid_t number_type(ColumnType type) {
  switch (type) {
    case ColumnType::kInt:
      return H5T_STD_I64LE;
    case ColumnType::kUnsigned:
      return H5T_STD_U64LE;
    case ColumnType::kReal:
      return H5T_IEEE_F64LE;
    case ColumnType::kText:
      break;
  }
  FUSEGRID_ASSERT(false, "no number");
}

}  // namespace detail

namespace {

using namespace detail;  // NOLINT(google-build-using-namespace): our own

constexpr size_t kMaxTextBytes = 1 << 20;  // of one string of an attribute or a column
// deflate shrinks at most 1032-fold: a dataset that claims more than this times the file's size is a bomb.
constexpr uint64_t kMaxExpansion = 1100;

std::string padded_text(const char* bytes, size_t width) {
  return {bytes, strnlen(bytes, width)};
}

// Width of a fixed-length string type; DataError for any other type.
size_t text_width(hid_t type, const std::string& where) {
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) {
    fail(where, "must be a fixed-length string");
  }
  const size_t width = H5Tget_size(type);
  if (width == 0 || width > kMaxTextBytes) {
    fail(where, "strings have at most 1 MiB, but these have " + std::to_string(width) + " bytes");
  }
  return width;
}

template <typename T>
T load_value(const char* in) {
  T value{};
  std::memcpy(&value, in, sizeof(T));
  return value;
}

Value load_value(ColumnType type, const char* in, size_t width) {
  switch (type) {
    case ColumnType::kText:
      return padded_text(in, width);
    case ColumnType::kInt:
      return load_value<int64_t>(in);
    case ColumnType::kUnsigned:
      return load_value<uint64_t>(in);
    case ColumnType::kReal:
      return load_value<double>(in);
  }
  FUSEGRID_ASSERT(false, "unknown column type");
}

// Where the columns lie in a row of the file, after checking that they are the declared ones.
std::vector<Field> check_columns(hid_t type, const std::vector<ColumnSpec>& columns,
                                 const std::string& where) {
  if (H5Tget_class(type) != H5T_COMPOUND || H5Tget_nmembers(type) != static_cast<int>(columns.size())) {
    fail(where, "must be a table of " + std::to_string(columns.size()) + " columns");
  }
  const size_t row_size = H5Tget_size(type);
  std::vector<Field> fields;
  for (unsigned c = 0; c < columns.size(); ++c) {
    const std::unique_ptr<char, herr_t (*)(void*)> name(H5Tget_member_name(type, c), H5free_memory);
    if (name == nullptr || columns[c].name != name.get()) {
      fail(where, "column " + std::to_string(c) + " must be '" + columns[c].name + "'");
    }
    const Handle member(check(H5Tget_member_type(type, c), where, "read a column's type"), H5Tclose);
    Field field{H5Tget_member_offset(type, c), H5Tget_size(member.get())};
    if (columns[c].type == ColumnType::kText) {
      text_width(member.get(), where + "." + columns[c].name);
    } else if (H5Tequal(member.get(), number_type(columns[c].type)) <= 0) {
      fail(where, "column '" + columns[c].name + "' has another type than declared");
    }
    if (field.offset > row_size || field.width > row_size - field.offset) {
      fail(where, "column '" + columns[c].name + "' lies outside its row");
    }
    fields.push_back(field);
  }
  return fields;
}

}  // namespace

// --- attributes ---

bool Object::has_attribute(const std::string& name) const {
  return check(H5Aexists(handle_.get(), name.c_str()), where_, "look for an attribute") > 0;
}

Handle Object::open_attribute(const std::string& name) const {
  if (!has_attribute(name)) {
    fail(where_, "the attribute '" + name + "' is missing");
  }
  Handle attribute(check(H5Aopen(handle_.get(), name.c_str(), H5P_DEFAULT), where_, "open an attribute"),
                   H5Aclose);
  const Handle space(check(H5Aget_space(attribute.get()), where_, "read an attribute"), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    fail(where_, "the attribute '" + name + "' must be a single value");
  }
  return attribute;
}

std::string Object::text_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(name);
  const Handle type(check(H5Aget_type(attribute.get()), where_, "read an attribute"), H5Tclose);
  const size_t width = text_width(type.get(), where_ + ", attribute '" + name + "'");
  std::vector<char> buffer(width);
  check(H5Aread(attribute.get(), type.get(), buffer.data()), where_, "read an attribute");
  return padded_text(buffer.data(), width);
}

int64_t Object::int_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(name);
  const Handle type(check(H5Aget_type(attribute.get()), where_, "read an attribute"), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_INTEGER) {
    fail(where_, "the attribute '" + name + "' must be a whole number");
  }
  int64_t value = 0;
  check(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), where_, "read an attribute");
  return value;
}

double Object::real_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(name);
  const Handle type(check(H5Aget_type(attribute.get()), where_, "read an attribute"), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_FLOAT) {
    fail(where_, "the attribute '" + name + "' must be a real number");
  }
  double value = 0;
  check(H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value), where_, "read an attribute");
  return value;
}

// --- datasets ---

Dataset::Dataset(Handle handle, std::string where, uint64_t file_bytes)
    : Object(std::move(handle), std::move(where)) {
  const Handle space(check(H5Dget_space(handle_.get()), where_, "read the shape"), H5Sclose);
  const int rank = check(H5Sget_simple_extent_ndims(space.get()), where_, "read the shape");
  if (rank == 0 || rank > 8) {
    fail(where_, "must have 1 to 8 dimensions, but it has " + std::to_string(rank));
  }
  std::vector<hsize_t> extents(static_cast<size_t>(rank));
  check(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr), where_, "read the shape");
  for (const hsize_t extent : extents) {
    if (extent > static_cast<hsize_t>(std::numeric_limits<uint32_t>::max())) {
      fail(where_, "a dimension of " + std::to_string(extent) + " is too large");
    }
    shape_.push_back(static_cast<int64_t>(extent));
  }
  check_storage(file_bytes);
}

int64_t Dataset::num_elements() const {
  int64_t product = 1;
  for (const int64_t extent : shape_) {
    if (__builtin_mul_overflow(product, extent, &product)) {
      fail(where_, "the shape is too large");
    }
  }
  return product;
}

std::filesystem::path Object::file() const {
  const auto length = check(H5Fget_name(handle_.get(), nullptr, 0), where_, "name the file");
  std::string name(static_cast<size_t>(length), '\0');
  check(H5Fget_name(handle_.get(), name.data(), name.size() + 1), where_, "name the file");
  return name;
}

std::optional<uint64_t> Dataset::offset_of_bytes() const {
  const Handle list(check(H5Dget_create_plist(handle_.get()), where_, "read the layout"), H5Pclose);
  const Handle type(check(H5Dget_type(handle_.get()), where_, "read the type"), H5Tclose);
  const haddr_t offset = H5Dget_offset(handle_.get());
  if (H5Pget_layout(list.get()) != H5D_CONTIGUOUS || H5Tequal(type.get(), H5T_STD_U8LE) <= 0 ||
      offset == HADDR_UNDEF) {
    return std::nullopt;
  }
  return offset;
}

// Refuses what would make the library read other files, load code, or allocate more than the file can hold.
void Dataset::check_storage(uint64_t file_bytes) const {
  const Handle list(check(H5Dget_create_plist(handle_.get()), where_, "read the layout"), H5Pclose);
  const auto layout = check(H5Pget_layout(list.get()), where_, "read the layout");
  if ((layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED && layout != H5D_COMPACT) ||
      H5Pget_external_count(list.get()) != 0) {
    fail(where_, "its data must lie in the file itself");
  }
  const int filters = check(H5Pget_nfilters(list.get()), where_, "read the filters");
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    size_t num_values = 0;
    const auto filter = H5Pget_filter2(list.get(), static_cast<unsigned>(i), &flags, &num_values, nullptr, 0,
                                       nullptr, nullptr);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32) {
      fail(where_, "only the filters deflate, shuffle and fletcher32 are read, but it has filter " +
                       std::to_string(filter));
    }
  }
  const Handle type(check(H5Dget_type(handle_.get()), where_, "read the type"), H5Tclose);
  int64_t bytes = 0;
  if (__builtin_mul_overflow(num_elements(), static_cast<int64_t>(H5Tget_size(type.get())), &bytes) ||
      static_cast<uint64_t>(bytes) / kMaxExpansion > file_bytes) {
    fail(where_, "it claims more data than a file of " + std::to_string(file_bytes) + " bytes can hold");
  }
  if (bytes > 0 && H5Dget_storage_size(handle_.get()) == 0) {
    fail(where_, "its data was never written");
  }
}

template <typename T>
static constexpr const char* element_name() {
  return std::is_floating_point_v<T> ? "reals"
         : std::is_signed_v<T>       ? "signed integers"
                                     : "unsigned integers";
}

template <typename T>
void Dataset::read(int64_t begin, int64_t count, T* out) const {
  FUSEGRID_ASSERT(begin >= 0 && count >= 0 && begin <= shape_[0] - count,
                  where_ + ": rows " + std::to_string(begin) + " to " + std::to_string(begin + count));
  const Handle type(check(H5Dget_type(handle_.get()), where_, "read the type"), H5Tclose);
  if (H5Tequal(type.get(), element_type<T>()) <= 0) {
    fail(where_, "its elements must be " + std::string(element_name<T>()) + " of " +
                     std::to_string(8 * sizeof(T)) + " bits");
  }
  if (count == 0 || num_elements() == 0) {
    return;
  }
  std::vector<hsize_t> first(shape_.size(), 0);
  std::vector<hsize_t> extents(shape_.begin(), shape_.end());
  first[0] = static_cast<hsize_t>(begin);
  extents[0] = static_cast<hsize_t>(count);
  const Handle in_file(check(H5Dget_space(handle_.get()), where_, "read the shape"), H5Sclose);
  check(H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, first.data(), nullptr, extents.data(), nullptr),
        where_, "select rows");
  const int rank = static_cast<int>(extents.size());
  const Handle in_memory(check(H5Screate_simple(rank, extents.data(), nullptr), where_, "select rows"),
                         H5Sclose);
  check(H5Dread(handle_.get(), element_type<T>(), in_memory.get(), in_file.get(), H5P_DEFAULT, out), where_,
        "read");
}

template <typename T>
std::vector<T> Dataset::read(int64_t begin, int64_t count) const {
  const int64_t row = num_elements() / std::max<int64_t>(shape_[0], 1);
  std::vector<T> values(static_cast<size_t>(row * count));
  read(begin, count, values.data());
  return values;
}

template void Dataset::read<uint8_t>(int64_t, int64_t, uint8_t*) const;
template void Dataset::read<float>(int64_t, int64_t, float*) const;
template std::vector<uint8_t> Dataset::read<uint8_t>(int64_t, int64_t) const;
template std::vector<uint16_t> Dataset::read<uint16_t>(int64_t, int64_t) const;
template std::vector<uint32_t> Dataset::read<uint32_t>(int64_t, int64_t) const;
template std::vector<int32_t> Dataset::read<int32_t>(int64_t, int64_t) const;
template std::vector<float> Dataset::read<float>(int64_t, int64_t) const;

std::vector<char> Dataset::read_rows(hid_t type) const {
  if (shape_.size() != 1) {
    fail(where_, "must have one dimension");
  }
  std::vector<char> buffer(static_cast<size_t>(num_elements()) * H5Tget_size(type));
  if (!buffer.empty()) {
    check(H5Dread(handle_.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer.data()), where_, "read");
  }
  return buffer;
}

std::vector<std::string> Dataset::read_texts() const {
  const Handle type(check(H5Dget_type(handle_.get()), where_, "read the type"), H5Tclose);
  const size_t width = text_width(type.get(), where_);
  const auto buffer = read_rows(type.get());
  std::vector<std::string> texts;
  for (size_t at = 0; at < buffer.size(); at += width) {
    texts.push_back(padded_text(buffer.data() + at, width));
  }
  return texts;
}

Table Dataset::read_table(const std::vector<ColumnSpec>& columns) const {
  const Handle type(check(H5Dget_type(handle_.get()), where_, "read the type"), H5Tclose);
  const auto fields = check_columns(type.get(), columns, where_);
  const auto buffer = read_rows(type.get());
  Table table(columns);
  std::vector<Value> row(columns.size());
  for (size_t at = 0; at < buffer.size(); at += H5Tget_size(type.get())) {
    for (size_t c = 0; c < columns.size(); ++c) {
      row[c] = load_value(columns[c].type, buffer.data() + at + fields[c].offset, fields[c].width);
    }
    table.add(row);
  }
  return table;
}

// --- groups ---

std::string Group::member(const std::string& name) const {
  return where_ + (where_.back() == '/' ? "" : "/") + name;
}

bool Group::has(const std::string& name) const {
  return check(H5Lexists(handle_.get(), name.c_str(), H5P_DEFAULT), where_, "look for a member") > 0;
}

std::vector<std::string> Group::members() const {
  std::vector<std::string> names;
  check(H5Literate(
            handle_.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr,
            [](hid_t, const char* name, const H5L_info_t*, void* data) -> herr_t {
              static_cast<std::vector<std::string>*>(data)->emplace_back(name);
              return 0;
            },
            &names),
        where_, "list the members");
  std::sort(names.begin(), names.end());
  return names;
}

// A link of another kind may lead into another file.
void Group::check_link(const std::string& name) const {
  if (!has(name)) {
    fail(where_, "'" + name + "' is missing");
  }
  H5L_info_t info{};
  check(H5Lget_info(handle_.get(), name.c_str(), &info, H5P_DEFAULT), member(name), "read the link");
  if (info.type != H5L_TYPE_HARD) {
    fail(member(name), "links must be hard links");
  }
}

Group Group::group(const std::string& name) const {
  check_link(name);
  const hid_t id = H5Gopen2(handle_.get(), name.c_str(), H5P_DEFAULT);
  return {Handle(check(id, member(name), "open the group"), H5Gclose), member(name), file_bytes_};
}

Dataset Group::dataset(const std::string& name) const {
  check_link(name);
  const hid_t id = H5Dopen2(handle_.get(), name.c_str(), H5P_DEFAULT);
  return {Handle(check(id, member(name), "open the dataset"), H5Dclose), member(name), file_bytes_};
}

// --- files ---

File::File(Handle handle, std::string where, uint64_t file_bytes, std::shared_ptr<Image> image)
    : image_(std::move(image)),
      handle_(std::move(handle)),
      where_(std::move(where)),
      file_bytes_(file_bytes) {}

Group File::root() const {
  const hid_t id = H5Gopen2(handle_.get(), "/", H5P_DEFAULT);
  return {Handle(check(id, where_, "open the root group"), H5Gclose), where_ + ":/", file_bytes_};
}

File File::open(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) {
    throw IoError("cannot read '" + path.string() + "': " + error.message());
  }
  const Handle list = access_list();
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, list.get());
  Handle handle(check(id, path.string(), "open it as an HDF5 file"), H5Fclose);
  return {std::move(handle), path.string(), bytes, nullptr};
}

}  // namespace fusegrid::hdf5
