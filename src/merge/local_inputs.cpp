#include "merge/local_inputs.h"

#include <cstring>

#include <ATen/ops/empty.h>

#include "checkpoint/model_spec.h"
#include "comm/agreement.h"
#include "core/errors.h"
#include "merge/inputs.h"

namespace fusegrid {
namespace {

constexpr int kAnsweringThreads = 4;

// What of a tensor is asked for.
enum class Part : uint64_t { kWhole, kB, kA };

// A question: which elements of which tensor, or of which of its factors.
struct Place {
  uint64_t expert = 0;
  uint64_t tensor = 0;  // position in tensors()
  Part part = Part::kWhole;
  int64_t begin = 0;
  int64_t count = 0;
};

// Ranks and scales of the factors of a model, by tensor.
nlohmann::json factors_json(const ModelSource& model) {
  nlohmann::json all = nlohmann::json::object();
  for (const TensorInfo& info : model.tensors()) {
    if (const auto factors = model.factors(info.name)) {
      all[info.name] = {factors->b.size(1), factors->scale};
    }
  }
  return all;
}

// Dtypes as numbers: the ranks run one program.
nlohmann::json to_json(const std::vector<TensorInfo>& tensors) {
  nlohmann::json all = nlohmann::json::array();
  for (const TensorInfo& info : tensors) {
    all.push_back({info.name, info.shape, static_cast<int>(info.dtype)});
  }
  return all;
}

std::vector<TensorInfo> tensors_of(const nlohmann::json& json) {
  std::vector<TensorInfo> all;
  for (const auto& entry : json) {
    all.push_back({entry.at(0).get<std::string>(), entry.at(1).get<std::vector<int64_t>>(),
                   static_cast<at::ScalarType>(entry.at(2).get<int>())});
  }
  return all;
}

// An expert of LocalInputs, wherever it is.
class Here final : public ModelSource {
 public:
  explicit Here(const ModelSource& model) : model_(model) {}
  std::string name() const override { return model_.name(); }
  const std::vector<TensorInfo>& tensors() const override { return model_.tensors(); }
  const nlohmann::json& config() const override { return model_.config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    model_.read_range(name, begin, count, destination);
  }
  std::optional<LowRankFactors> factors(const std::string& name) const override {
    return model_.factors(name);
  }
  void check_unchanged() const override { model_.check_unchanged(); }

 private:
  const ModelSource& model_;
};

void check_folder(const std::filesystem::path& model) {
  if (!parse_model(model.string())->is_folder()) {
    throw ConfigError("with --inputs-are local models must be folders, but '" + model.string() +
                      "' is made of several; write it to one first (--method passthrough)");
  }
}

}  // namespace

class LocalInputs::Remote final : public ModelSource {
 public:
  Remote(const Expert& expert, size_t index, Requests& requests)
      : expert_(expert), index_(index), requests_(requests) {
    for (size_t i = 0; i < expert.tensors.size(); ++i) {
      places_.emplace(expert.tensors[i].name, i);
    }
  }
  std::string name() const override { return expert_.name; }
  const std::vector<TensorInfo>& tensors() const override { return expert_.tensors; }
  const nlohmann::json& config() const override { return expert_.config; }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const size_t tensor = places_.at(name);
    ask({index_, tensor, Part::kWhole, begin, count}, expert_.tensors[tensor].dtype, destination);
  }
  std::optional<LowRankFactors> factors(const std::string& name) const override {
    if (!expert_.factors.contains(name)) {
      return std::nullopt;
    }
    const size_t tensor = places_.at(name);
    const auto& shape = expert_.tensors[tensor].shape;
    const auto rank = expert_.factors[name].at(0).get<int64_t>();
    const auto read = [&](Part part, int64_t rows, int64_t columns) {
      at::Tensor factor = at::empty({rows, columns}, at::kFloat);
      ask({index_, tensor, part, 0, factor.numel()}, at::kFloat, factor.mutable_data_ptr());
      return factor;
    };
    return LowRankFactors{read(Part::kB, shape[0], rank), read(Part::kA, rank, shape[1]),
                          expert_.factors[name].at(1).get<double>()};
  }
  void check_unchanged() const override {}  // the rank that has it checks

 private:
  void ask(const Place& place, at::ScalarType dtype, void* destination) const {
    std::string question(sizeof place, '\0');
    std::memcpy(question.data(), &place, sizeof place);
    requests_.ask(expert_.owner, question, destination,
                  static_cast<size_t>(place.count) * c10::elementSize(dtype));
  }

  const Expert& expert_;
  size_t index_;
  Requests& requests_;
  std::map<std::string, size_t> places_;
};

LocalInputs::LocalInputs(const MergeSpec& spec, Collectives& group) {
  on_all_ranks(group, [&] { open_here(spec); });
  find_owners(group);
  requests_ = mpi_requests(kAnsweringThreads, [this](const std::string& question, void* destination,
                                                     size_t size) { answer(question, destination, size); });
}

void LocalInputs::open_here(const MergeSpec& spec) {
  if (spec.base) {
    check_folder(*spec.base);
  }
  for (const MergeExpert& expert : spec.experts) {
    check_folder(expert.path);
  }
  const auto everywhere = spec.base ? *spec.base : spec.experts.front().path;
  if (!std::filesystem::exists(everywhere)) {
    throw ConfigError(
        "with --inputs-are local every rank must have the base (without --base: the first expert), but '" +
        everywhere.string() + "' is missing; copy it, or begin with an expert that all ranks have");
  }
  if (spec.base) {
    base_ = open_model(*spec.base, nullptr, spec.reading());
  }
  for (const MergeExpert& given : spec.experts) {
    Expert& expert = experts_.emplace_back();
    expert.name = given.path.string();
    if (std::filesystem::exists(given.path)) {
      expert.model = open_model(given.path, base_.get(), spec.reading());
      expert.tensors = expert.model->tensors();
      expert.stamp = stamp_of(given.path);
    }
  }
}

void LocalInputs::find_owners(Collectives& group) {
  nlohmann::json mine = nlohmann::json::array();
  for (const Expert& expert : experts_) {
    mine.push_back(expert.model ? nlohmann::json::array({to_json(expert.tensors), expert.stamp,
                                                         expert.model->config(), factors_json(*expert.model)})
                                : nlohmann::json());
  }
  std::vector<nlohmann::json> all;
  for (const std::string& theirs : all_gather_bytes(group, mine.dump())) {
    all.push_back(nlohmann::json::parse(theirs));
  }
  for (size_t i = 0; i < experts_.size(); ++i) {
    std::vector<int> owners;
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (!all[rank][i].is_null()) {
        owners.push_back(static_cast<int>(rank));
      }
    }
    // the same on every rank, so all of them throw
    if (owners.empty()) {
      throw AgreedError(ExitCode::kConfig,
                        "some rank must have every expert, but none has '" + experts_[i].name + "'");
    }
    for (const int owner : owners) {
      if (all[owner][i][0] != all[owners[0]][i][0]) {
        throw AgreedError(ExitCode::kConfig,
                          "'" + experts_[i].name +
                              "' must be one model on all ranks that have it, but on ranks " +
                              std::to_string(owners[0]) + " and " + std::to_string(owner) +
                              " it has other tensors; rename one");
      }
    }
    experts_[i].holder = owners[0];
    experts_[i].owner = owners[static_cast<size_t>(group.rank()) % owners.size()];
    experts_[i].tensors = tensors_of(all[owners[0]][i][0]);
    experts_[i].stamp = all[owners[0]][i][1];
    experts_[i].config = all[owners[0]][i][2];
    experts_[i].factors = all[owners[0]][i][3];
  }
}

std::unique_ptr<ModelSource> LocalInputs::expert(size_t index) const {
  const Expert& expert = experts_[index];
  if (expert.model) {
    return std::make_unique<Here>(*expert.model);
  }
  return std::make_unique<Remote>(expert, index, *requests_);
}

void LocalInputs::answer(const std::string& question, void* destination, size_t size) const {
  Place place;
  std::memcpy(&place, question.data(), sizeof place);
  const Expert& expert = experts_.at(place.expert);
  const TensorInfo& info = expert.tensors.at(place.tensor);
  const bool whole = place.part == Part::kWhole;
  FUSEGRID_ASSERT(
      size == static_cast<size_t>(place.count) * c10::elementSize(whole ? info.dtype : at::kFloat),
      "a range of other bytes");
  if (whole) {
    expert.model->read_range(info.name, place.begin, place.count, destination);
    return;
  }
  const auto factors = expert.model->factors(info.name);
  std::memcpy(destination, (place.part == Part::kB ? factors->b : factors->a).const_data_ptr(), size);
}

}  // namespace fusegrid
