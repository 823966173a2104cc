#include "store/task_pack.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "store/hdf5.h"

namespace fusegrid {
namespace {

constexpr int64_t kPackVersion = 1;
constexpr int64_t kMaxImageSize = 4096;
const std::vector<std::string>& split_names() {
  static const std::vector<std::string> names = {"train", "val", "test"};
  return names;
}

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw DataError(where + ": " + what);
}

void check_format(const hdf5::Group& root, const std::string& format) {
  const std::string seen = root.has_attribute("format") ? root.text_attribute("format") : "";
  if (seen != format) {
    fail(root.where(), "the attribute 'format' must be '" + format + "', but it is '" + seen + "'");
  }
  const int64_t version = root.int_attribute("version");
  if (version != kPackVersion) {
    fail(root.where(), "this program reads version " + std::to_string(kPackVersion) +
                           " of the format, but the file has version " + std::to_string(version) +
                           "; make the file again with the tools of this program, or use the program that " +
                           "belongs to it");
  }
}

int64_t read_image_size(const hdf5::Group& root) {
  const int64_t size = root.int_attribute("image_size");
  if (size < 1 || size > kMaxImageSize) {
    fail(root.where(), "image_size must be in [1, " + std::to_string(kMaxImageSize) + "], but it is " +
                           std::to_string(size));
  }
  return size;
}

// Checks [examples, 1 or 3, size, size] with at least one example.
void check_image_shape(const hdf5::Dataset& images, int64_t size) {
  const auto& shape = images.shape();
  const bool ok =
      shape.size() == 4 && (shape[1] == 1 || shape[1] == 3) && shape[2] == size && shape[3] == size;
  if (!ok) {
    std::vector<std::string> extents;
    for (const int64_t extent : shape) {
      extents.push_back(std::to_string(extent));
    }
    const std::string edge = std::to_string(size);
    fail(images.where(), "images must have the shape [examples, 1 or 3, " + edge + ", " + edge +
                             "], but it is [" + join(extents, ", ") + "]");
  }
  if (shape[0] == 0) {
    fail(images.where(), "there must be at least one example, but there is none");
  }
}

void check_length(const hdf5::Dataset& dataset, int64_t examples) {
  if (dataset.shape() != std::vector<int64_t>{examples}) {
    fail(dataset.where(), "there must be one entry for each of the " + std::to_string(examples) + " images");
  }
}

at::Tensor read_images(const hdf5::Dataset& images) {
  auto tensor = at::empty(images.shape(), at::kByte);
  images.read(tensor.mutable_data_ptr<uint8_t>());
  return tensor;
}

template <typename T>
at::Tensor read_integers(const hdf5::Dataset& dataset) {
  const auto values = dataset.read<T>();
  auto tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.template mutable_data_ptr<int64_t>());
  return tensor;
}

at::Tensor read_labels(const hdf5::Dataset& dataset, int64_t classes) {
  auto labels = read_integers<uint16_t>(dataset);
  const auto* begin = labels.const_data_ptr<int64_t>();
  const int64_t largest = *std::max_element(begin, begin + labels.numel());
  if (largest >= classes) {
    fail(dataset.where(), "labels must be less than the number of classes, " + std::to_string(classes) +
                              ", but one is " + std::to_string(largest));
  }
  return labels;
}

std::vector<std::string> read_class_names(const hdf5::Group& task) {
  auto names = task.dataset("class_names").read_texts();
  if (names.size() < 2 || names.size() > 65536) {
    fail(task.where(), "a task has 2 to 65536 classes, but it has " + std::to_string(names.size()));
  }
  auto sorted = names;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.front().empty() || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    fail(task.where(), "class names must be different and not empty");
  }
  return names;
}

// Number of examples of a split, after checking that its parts agree.
int64_t check_split(const hdf5::Group& split, int64_t image_size) {
  const auto images = split.dataset("images");
  check_image_shape(images, image_size);
  const int64_t examples = images.shape()[0];
  check_length(split.dataset("labels"), examples);
  check_length(split.dataset("groups"), examples);
  if (split.int_attribute("examples") != examples) {
    fail(split.where(), "the attribute 'examples' says " + std::to_string(split.int_attribute("examples")) +
                            ", but there are " + std::to_string(examples) + " images");
  }
  return examples;
}

TaskInfo read_task(const hdf5::Group& group, const std::string& name, int64_t image_size) {
  check_task_name(name, group.where() + ": the name of a task");
  TaskInfo task;
  task.name = name;
  task.title = group.text_attribute("title");
  task.licence = group.text_attribute("licence");
  task.source = group.text_attribute("source");
  task.group_meaning = group.text_attribute("group_meaning");
  task.split_rule = group.text_attribute("split_rule");
  task.class_names = read_class_names(group);
  for (const auto& split : split_names()) {
    task.examples[split] = check_split(group.group(split), image_size);
  }
  return task;
}

std::vector<std::string> names_of(const std::vector<TaskInfo>& tasks) {
  std::vector<std::string> names;
  for (const auto& task : tasks) {
    names.push_back(task.name);
  }
  return names;
}

std::string unknown_text(const std::string& what, const std::string& name,
                         const std::vector<std::string>& known) {
  const std::string guess = nearest(name, known);
  return what + " must be one of " + join(known, ", ") + ", but it is '" + name + "'" +
         (guess.empty() ? "" : " (did you mean '" + guess + "'?)");
}

}  // namespace

struct TaskPack::State {
  State(std::filesystem::path pack_path, hdf5::File pack_file)
      : path(std::move(pack_path)), file(std::move(pack_file)) {}
  std::filesystem::path path;
  hdf5::File file;
  std::string suite;
  int64_t image_size = 0;
  std::vector<TaskInfo> tasks;
  std::once_flag hashed;
  std::string sha256;
};

TaskPack::TaskPack(const std::filesystem::path& path)
    : state_(std::make_unique<State>(path, hdf5::File::open(path))) {
  const auto root = state_->file.root();
  check_format(root, "fusegrid-task-pack");
  state_->suite = root.text_attribute("suite");
  state_->image_size = read_image_size(root);
  const auto tasks = root.group("tasks");
  for (const auto& name : tasks.members()) {
    state_->tasks.push_back(read_task(tasks.group(name), name, state_->image_size));
  }
  if (state_->tasks.empty()) {
    fail(tasks.where(), "a task pack has at least one task, but this one has none");
  }
}

TaskPack::~TaskPack() = default;
TaskPack::TaskPack(TaskPack&&) noexcept = default;

const std::filesystem::path& TaskPack::path() const {
  return state_->path;
}
const std::string& TaskPack::suite() const {
  return state_->suite;
}
int64_t TaskPack::image_size() const {
  return state_->image_size;
}
const std::vector<TaskInfo>& TaskPack::tasks() const {
  return state_->tasks;
}

const TaskInfo& TaskPack::task(const std::string& name) const {
  for (const auto& task : state_->tasks) {
    if (task.name == name) {
      return task;
    }
  }
  throw ConfigError(unknown_text("a task of '" + state_->path.string() + "'", name, names_of(state_->tasks)));
}

Split TaskPack::read(const std::string& task, const std::string& split) const {
  Split examples = read_marks(task, split);
  auto images = read_images(state_->file.root().group("tasks").group(task).group(split).dataset("images"));
  if (images.size(1) == 1) {
    images = images.expand({-1, 3, -1, -1}).contiguous();
  }
  examples.images = std::move(images);
  return examples;
}

Split TaskPack::read_marks(const std::string& task, const std::string& split) const {
  const TaskInfo& info = this->task(task);
  if (!info.examples.contains(split)) {
    throw ConfigError(unknown_text("a split", split, split_names()));
  }
  const auto group = state_->file.root().group("tasks").group(task).group(split);
  return {{},
          read_labels(group.dataset("labels"), static_cast<int64_t>(info.class_names.size())),
          read_integers<uint32_t>(group.dataset("groups"))};
}

std::string TaskPack::sha256() const {
  std::call_once(state_->hashed, [this] { state_->sha256 = sha256_of_file(state_->path); });
  return state_->sha256;
}

namespace {

PoolSource read_source(const hdf5::Group& group, const std::string& name, int64_t image_size) {
  PoolSource source;
  source.name = name;
  source.classes = group.int_attribute("classes");
  source.share = group.real_attribute("share");
  const std::string kind = group.text_attribute("kind");
  if (kind != "mask" && kind != "rgb") {
    fail(group.where(), "kind must be mask or rgb, but it is '" + kind + "'");
  }
  if (source.classes < 2 || source.classes > 65536) {
    fail(group.where(), "a source has 2 to 65536 classes, but it says " + std::to_string(source.classes));
  }
  if (!(source.share > 0 && source.share <= 1)) {
    fail(group.where(), "share must be in (0, 1], but it is " + number_text(source.share));
  }
  source.mask = kind == "mask";
  const auto images = group.dataset("images");
  check_image_shape(images, image_size);
  if (images.shape()[1] != (source.mask ? 1 : 3)) {
    fail(images.where(), "a " + kind + " source has " + (source.mask ? "1 channel" : "3 channels") +
                             ", but this one has " + std::to_string(images.shape()[1]));
  }
  check_length(group.dataset("labels"), images.shape()[0]);
  source.images = read_images(images);
  source.labels = read_labels(group.dataset("labels"), source.classes);
  return source;
}

}  // namespace

std::vector<PoolSource> read_pretraining_pool(const std::filesystem::path& path) {
  const auto file = hdf5::File::open(path);
  const auto root = file.root();
  check_format(root, "fusegrid-pretraining-pool");
  const int64_t image_size = read_image_size(root);
  const auto group = root.group("sources");
  std::vector<PoolSource> sources;
  double total = 0;
  for (const auto& name : group.members()) {
    sources.push_back(read_source(group.group(name), name, image_size));
    total += sources.back().share;
  }
  if (sources.empty() || total > 1 + 1e-6) {  // the trainer may fill the rest of a batch by other means
    fail(group.where(),
         "there must be sources whose shares add up to at most 1, but they add up to " + number_text(total));
  }
  return sources;
}

}  // namespace fusegrid
