#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/hf_folder.h"
#include "checkpoint/ia3_file.h"
#include "checkpoint/model_source.h"
#include "checkpoint/name_prefix.h"

namespace fusegrid {

// A PEFT folder with an (IA)^3 adapter on a base, read as the model that merge_and_unload would give, range by range.
// All const members may be called from several threads at once.
//
//   W' = diag(l) W, b' = l b     a vector on the outputs of a module
//   W' = W diag(l)               one on its inputs (feedforward modules)
//
// Names are the base's (adapter_names.h). Tensors that the adapter changes or holds whole (modules_to_save) are
// float32, element by element, all others have the base's dtype. It is no low-rank change, so it has no factors().
class Ia3Expert final : public ModelSource {
 public:
  // `base` must outlive the expert. Throws as Ia3File; ConfigError where it does not fit the base, or holds the
  // embedding or the head of a base that ties them.
  Ia3Expert(const std::filesystem::path& path, const ModelSource& base, HfFolderOptions options = {});

  std::string name() const override { return path_.string(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return base_.config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override;
  void check_unchanged() const override;

 private:
  struct Change {
    std::string copy;           // key of a tensor held whole; "": the base's
    std::vector<float> vector;  // empty: none
    int64_t row = 1;            // elements of a row of the tensor
    bool of_columns = false;    // the vector has an entry for each column, else for each row
  };

  void add_vector(const std::string& module, const Ia3File::Vector& vector, const NamePrefix& prefix);
  void add_copy(const std::string& tensor, const std::string& key, const NamePrefix& prefix);
  void replace(TensorInfo tensor, Change change);

  std::filesystem::path path_;
  const ModelSource& base_;
  Ia3File file_;
  std::map<std::string, TensorInfo> by_name_;     // of the base, while it is opened
  std::map<std::string, at::ScalarType> dtypes_;  // of what is replaced, as stored
  std::map<std::string, Change> changes_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace fusegrid
