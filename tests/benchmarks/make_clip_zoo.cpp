// Makes a zoo of the shape of CLIP ViT-B/32 with random weights, and a task pack of random images for it, so that the
// figures of docs/performance.md can be repeated without any download.
//
//   make_clip_zoo FOLDER [IMAGES [EXPERTS [SIZE]]]     default: 87433 test images in all, 8 experts, 224 pixels
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scalar_tensor.h>
#include <hdf5.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "core/text.h"
#include "models/unit_rows.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kClasses = 10;
constexpr int64_t kRowsAtATime = 512;

struct Sizes {
  int64_t images = 87433;
  int64_t experts = 8;
  int64_t pixels = 224;
};

json config_of(const Sizes& sizes) {
  return {{"model_type", "clip_vision_model"},
          {"hidden_size", 768},
          {"intermediate_size", 3072},
          {"num_hidden_layers", 12},
          {"num_attention_heads", 12},
          {"image_size", sizes.pixels},
          {"patch_size", 32},
          {"hidden_act", "quick_gelu"},
          {"projection_dim", 512}};
}

json preprocessor() {
  return {{"do_rescale", true},
          {"rescale_factor", 1.0 / 255},
          {"image_mean", {0.5, 0.5, 0.5}},
          {"image_std", {0.5, 0.5, 0.5}}};
}

Weights random_weights(const Architecture& architecture) {
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    const bool is_scale = info.shape.size() == 1 && info.name.ends_with("weight");
    weights.emplace(info.name, at::randn(info.shape) * 0.02 + (is_scale ? 1.0 : 0.0));
  }
  return weights;
}

void save(const fs::path& folder, const Weights& weights, const Sizes& sizes) {
  save_hf_folder(folder, weights, config_of(sizes), {{"preprocessor_config.json", preprocessor().dump(2)}});
}

// An identifier of the HDF5 library that must be valid.
hid_t valid(hid_t id) {
  if (id < 0) {
    throw IoError("HDF5 failed while the pack was written");
  }
  return id;
}

void set_text(hid_t object, const char* name, const std::string& value) {
  const hid_t type = valid(H5Tcopy(H5T_C_S1));
  H5Tset_size(type, value.size());
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  const hid_t space = valid(H5Screate(H5S_SCALAR));
  const hid_t attribute = valid(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  H5Awrite(attribute, type, value.data());
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

void set_number(hid_t object, const char* name, int64_t value) {
  const hid_t space = valid(H5Screate(H5S_SCALAR));
  const hid_t attribute = valid(H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT));
  H5Awrite(attribute, H5T_NATIVE_INT64, &value);
  H5Aclose(attribute);
  H5Sclose(space);
}

hid_t make_group(hid_t parent, const std::string& name) {
  return valid(H5Gcreate2(parent, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

template <typename T>
void write_numbers(hid_t group, const char* name, hid_t stored, hid_t native, const std::vector<T>& values) {
  const hsize_t extent = values.size();
  const hid_t space = valid(H5Screate_simple(1, &extent, nullptr));
  const hid_t data = valid(H5Dcreate2(group, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Dwrite(data, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  H5Dclose(data);
  H5Sclose(space);
}

void write_images(hid_t group, int64_t count, int64_t pixels) {
  const std::vector<hsize_t> shape{static_cast<hsize_t>(count), 3, static_cast<hsize_t>(pixels),
                                   static_cast<hsize_t>(pixels)};
  const hid_t space = valid(H5Screate_simple(4, shape.data(), nullptr));
  const hid_t data =
      valid(H5Dcreate2(group, "images", H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  const at::Tensor noise = at::randint(0, 256, {kRowsAtATime, 3, pixels, pixels}, at::kByte);
  for (int64_t begin = 0; begin < count; begin += kRowsAtATime) {
    const hsize_t rows = static_cast<hsize_t>(std::min(kRowsAtATime, count - begin));
    const std::vector<hsize_t> start{static_cast<hsize_t>(begin), 0, 0, 0};
    const std::vector<hsize_t> block{rows, shape[1], shape[2], shape[3]};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, block.data(), nullptr);
    const hid_t memory = valid(H5Screate_simple(4, block.data(), nullptr));
    if (H5Dwrite(data, H5T_NATIVE_UINT8, memory, space, H5P_DEFAULT, noise.const_data_ptr<uint8_t>()) < 0) {
      throw IoError("cannot write images; is the disk full?");
    }
    H5Sclose(memory);
  }
  H5Dclose(data);
  H5Sclose(space);
}

void write_split(hid_t task, const std::string& name, int64_t count, int64_t pixels) {
  const hid_t split = make_group(task, name);
  set_number(split, "examples", count);
  write_images(split, count, pixels);
  std::vector<uint16_t> labels;
  std::vector<uint32_t> groups;
  for (int64_t i = 0; i < count; ++i) {
    labels.push_back(static_cast<uint16_t>(i % kClasses));
    groups.push_back(static_cast<uint32_t>(i));
  }
  write_numbers(split, "labels", H5T_STD_U16LE, H5T_NATIVE_UINT16, labels);
  write_numbers(split, "groups", H5T_STD_U32LE, H5T_NATIVE_UINT32, groups);
  H5Gclose(split);
}

void write_pack(const fs::path& path, const Sizes& sizes, const std::vector<std::string>& names) {
  const hid_t file = valid(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  set_text(file, "format", "fusegrid-task-pack");
  set_number(file, "version", 2);
  set_text(file, "suite", "clip_noise");
  set_text(file, "sources_sha256", std::string(64, '0'));
  const hid_t tasks = make_group(file, "tasks");
  json classes = json::array();
  for (int64_t i = 0; i < kClasses; ++i) {
    classes.push_back("class " + std::to_string(i));
  }
  const std::string attributes = json{{"classes", classes}}.dump();
  for (const std::string& name : names) {
    const hid_t task = make_group(tasks, name);
    set_text(task, "kind", "classify");
    for (const char* text : {"title", "licence", "source", "group_meaning", "split_rule"}) {
      set_text(task, text, "noise");
    }
    write_numbers(task, "attributes", H5T_STD_U8LE, H5T_NATIVE_UINT8,
                  std::vector<uint8_t>(attributes.begin(), attributes.end()));
    write_split(task, "train", 2048, sizes.pixels);
    write_split(task, "val", 64, sizes.pixels);
    write_split(task, "test", sizes.images / sizes.experts, sizes.pixels);
    H5Gclose(task);
  }
  H5Gclose(tasks);
  H5Fclose(file);
}

void make(const fs::path& folder, const Sizes& sizes) {
  const auto architecture = make_architecture(config_of(sizes));
  const Weights base = random_weights(*architecture);
  ImportRequest request{.folder = folder / "clip-b32",
                        .scale = "vit-b-32",
                        .suite = "clip_noise",
                        .base = folder / "base",
                        .experts = {},
                        .heads = {},
                        .pack = {}};
  save(request.base, base, sizes);
  Weights heads{{"logit_scale", at::scalar_tensor(4.6, at::kFloat)}};
  std::vector<std::string> names;
  for (int64_t i = 0; i < sizes.experts; ++i) {
    names.push_back("task" + std::to_string(i));
    Weights expert;
    for (const auto& [name, tensor] : base) {
      expert.emplace(name, tensor + at::randn(tensor.sizes()) * 0.001);
    }
    request.experts.emplace_back(names.back(), folder / names.back());
    save(request.experts.back().second, expert, sizes);
    heads.emplace(names.back() + ".rows", unit_rows(at::randn({kClasses, architecture->feature_size()})));
  }
  request.heads = folder / "heads.safetensors";
  write_safetensors(request.heads, heads);
  request.pack = folder / "pack.h5";
  write_pack(request.pack, sizes, names);
  import_zoo(request);
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;  // NOLINT(google-build-using-namespace): a main function
  if (argc < 2) {
    std::cerr << "usage: make_clip_zoo FOLDER [IMAGES [EXPERTS [SIZE]]]\n";
    return 1;
  }
  try {
    Sizes sizes;
    sizes.images = argc > 2 ? parse_int(argv[2], "IMAGES") : sizes.images;
    sizes.experts = argc > 3 ? parse_int(argv[3], "EXPERTS") : sizes.experts;
    sizes.pixels = argc > 4 ? parse_int(argv[4], "SIZE") : sizes.pixels;
    fs::create_directories(argv[1]);
    make(argv[1], sizes);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
