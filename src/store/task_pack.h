#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The examples of one split of one task.
struct Split {
  at::Tensor images;  // uint8 [examples, 3, height, width] (gray images are repeated to three channels)
  at::Tensor labels;  // int64 [examples]
  at::Tensor groups;  // int64 [examples]: examples of one group share a source (font family, map block, ...)
};

struct TaskInfo {
  std::string name;
  std::string title;
  std::string licence;
  std::string source;
  std::string group_meaning;
  std::string split_rule;
  std::vector<std::string> class_names;
  std::map<std::string, int64_t> examples;  // per split
};

// Read access to a task pack (HDF5; docs/results_format.md, "Task packs"). Images are read when asked for.
class TaskPack {
 public:
  // Throws IoError where the file is missing, DataError where it is not a task pack of a known version.
  explicit TaskPack(const std::filesystem::path& path);
  ~TaskPack();
  TaskPack(TaskPack&&) noexcept;

  const std::filesystem::path& path() const;
  const std::string& suite() const;
  int64_t image_size() const;
  const std::vector<TaskInfo>& tasks() const;           // sorted by name
  const TaskInfo& task(const std::string& name) const;  // ConfigError listing what is known
  // Reads one split; throws DataError where it is empty or its parts disagree.
  Split read(const std::string& task, const std::string& split) const;
  // The same without the images, which stay undefined.
  Split read_marks(const std::string& task, const std::string& split) const;
  std::string sha256() const;  // of the file

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The pool that bases are pretrained on (tools/make_pretraining_pool.py).
struct PoolSource {
  std::string name;
  at::Tensor images;  // uint8 [examples, channels (1: mask, 3: rgb), size, size]
  at::Tensor labels;  // int64 [examples], 0-based inside the source
  int64_t classes = 0;
  double share = 0;   // of the examples of a batch
  bool mask = false;  // glyph masks, coloured by the trainer
};
std::vector<PoolSource> read_pretraining_pool(const std::filesystem::path& path);

}  // namespace fusegrid
