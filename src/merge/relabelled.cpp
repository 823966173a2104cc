#include "merge/relabelled.h"

#include <utility>
#include <vector>

namespace fusegrid {
namespace {

class Relabelled final : public ModelSource {
 public:
  Relabelled(std::unique_ptr<ModelSource> model, std::map<std::string, std::string> names)
      : model_(std::move(model)), names_(std::move(names)) {
    for (const auto& [name, theirs] : names_) {
      tensors_.push_back(*find_tensor(*model_, theirs));
      tensors_.back().name = name;
    }
  }
  std::string name() const override { return model_->name(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return model_->config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    model_->read_range(names_.at(name), begin, count, destination);
  }
  std::optional<LowRankFactors> factors(const std::string& name) const override {
    return model_->factors(names_.at(name));
  }
  void check_unchanged() const override { model_->check_unchanged(); }

 private:
  std::unique_ptr<ModelSource> model_;
  std::map<std::string, std::string> names_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

std::unique_ptr<ModelSource> relabelled(std::unique_ptr<ModelSource> model,
                                        std::map<std::string, std::string> names) {
  return std::make_unique<Relabelled>(std::move(model), std::move(names));
}

}  // namespace fusegrid
