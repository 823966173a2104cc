#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "core/weights.h"
#include "store/tokens.h"

namespace fusegrid {

// Says of pictures what they show: a network in a pack that is never trained.
struct PackJudge {
  nlohmann::json config;  // of an architecture with a head of its own
  Weights tensors;
};

// Examples of one split of one task, in the order of the file. What its kind has not is undefined.
struct Split {
  std::string name;   // "TASK/SPLIT": keys what is drawn for its examples
  int64_t begin = 0;  // the number of the first of them in the split
  // uint8 [examples, 3, height, width]: gray images are repeated to three channels, but for those of kind sample
  at::Tensor images;
  TokenRows tokens;    // where the inputs are no images alone
  bool pairs = false;  // images and tokens are two inputs, as kind retrieve has them; else one
  // int64 [examples], of kinds classify and sample: less than the number of classes; of multiple_choice: than that of
  // the choices
  at::Tensor labels;
  // int64 [examples, 2], of kind sample: what is asked for, the label and behind all classes the style.
  at::Tensor conditions;
  at::Tensor values;  // float [examples], of kind regress: finite
  // Of each pixel of the images. segment: classes, int32 [examples, height, width], less than their number or `ignore`;
  // depth: metres, float [examples, height, width]; normals: of length 1, float [examples, 3, height, width]; of these
  // two, NaN where nothing is known.
  at::Tensor maps;
  TokenRows answers;   // of kind generate
  ChoiceRows choices;  // of kind multiple_choice
  at::Tensor groups;   // int64 [examples]: examples of one group share a source (font family, map block, ...)
};

struct TaskInfo {
  std::string name;
  std::string
      kind;  // classify, regress, generate, language_model, multiple_choice, sample, segment, depth or normals
  std::string title;
  std::string licence;
  std::string source;
  std::string group_meaning;
  std::string split_rule;
  std::vector<std::string> class_names;  // of kinds classify, sample and segment, in the order of the labels
  std::vector<std::string> style_names;  // of kind sample, the same
  std::shared_ptr<const PackJudge> judge;                // of kind sample
  nlohmann::json attributes = nlohmann::json::object();  // docs/packs.md, "Kinds"
  bool pairs = false;                                    // as of a Split
  int64_t image_height = 0;                              // 0 where the inputs have no images
  int64_t image_width = 0;                               // the same
  int64_t image_channels = 0;                            // the same; 1 (gray) or 3
  int64_t longest_row = 0;          // tokens of the longest input of all splits; 0 where they have none
  int64_t longest_with_choice = 0;  // of an input and one of its choices together; 0 where there are none
  std::map<std::string, int64_t> examples;  // by split: train, val, test
};

// Read access to a task pack (HDF5; docs/packs.md).
//
// Opening reads what describes the tasks and checks that every array is there and has its shape; examples are read,
// and their ids, labels and values checked, when they are asked for.
class TaskPack {
 public:
  // Throws IoError where the file is missing, DataError where it is not a task pack of version 2.
  explicit TaskPack(const std::filesystem::path& path);
  ~TaskPack();
  TaskPack(TaskPack&&) noexcept;

  const std::filesystem::path& path() const;
  const std::string& suite() const;
  const std::vector<TaskInfo>& tasks() const;           // sorted by name
  const TaskInfo& task(const std::string& name) const;  // ConfigError listing what is known
  const TokenTable* tokens() const;                     // null where no task has tokens
  // Reads one split, or its examples [begin, begin + count), which it must have. ConfigError where task or split are
  // unknown, DataError where a value breaks a rule.
  Split read(const std::string& task, const std::string& split) const;
  Split read(const std::string& task, const std::string& split, int64_t begin, int64_t count) const;
  // One split without what is large: its inputs (images, tokens) and maps stay undefined.
  Split read_marks(const std::string& task, const std::string& split) const;
  std::string sha256() const;  // digest_of_file(); computed once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fusegrid
