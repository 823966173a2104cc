#include "checkpoint/mixture.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "checkpoint/dense_model.h"
#include "core/errors.h"
#include "core/params.h"
#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr auto kFormat = "moe{parameter=value,...}(BASE; EXPERT, EXPERT, ...)";
constexpr int64_t kMixtureBlock = 65'536;  // elements that are converted at a time
constexpr int64_t kMaxMixtureExperts = 1024;

struct Parameters {
  int64_t experts_per_token = 2;
  int64_t num_experts = 0;
  int64_t seed = 0;
  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("experts_per_token", experts_per_token, Range{1, kMaxMixtureExperts},
            "experts that answer for each token");
    v.param("num_experts", num_experts, Range{0, kMaxMixtureExperts},
            "without a list: copies of BASE's MLPs");
    v.param("seed", seed, Range{0, 0x1p53}, "of the routers' random numbers");
  }
};

// A mixture as it is written: the same text twice is the same model.
struct Written {
  std::string text;
  std::string base;
  std::vector<std::string> experts;
  Parameters parameters;
};

class Mixture final : public ModelSource {
 public:
  Mixture(const Written& written, HfFolderOptions options)
      : name_(written.text), parameters_(written.parameters) {
    const DenseModel& base = open(written.base, options);
    base.check_is_base();
    for (const TensorInfo& info : base.model().tensors()) {
      if (!is_mlp(info.name)) {
        add(info.name, info.dtype, base, info.name);
      }
    }
    for (const std::string& text : written.experts) {
      const DenseModel& expert = open(text, options);
      expert.check_fits(base);
      add_expert(base, expert);
    }
    key_ = derive_key(static_cast<uint64_t>(parameters_.seed), "moe/router");
    deviation_ = base.initializer_range();
    for (int64_t layer = 0; layer < base.layers(); ++layer) {
      const at::ScalarType dtype = base.info(mlp_name(layer, kMlpMatrices[0])).dtype;
      const std::string name = layer_prefix(layer) + "block_sparse_moe.gate.weight";
      tensors_.push_back({name, {experts_, base.hidden()}, dtype});
      origins_.emplace(name, Origin{.dtype = dtype, .layer = layer});
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const TensorInfo& x, const TensorInfo& y) { return x.name < y.name; });
    config_ = base.mixtral_config(experts_, parameters_.experts_per_token);
  }

  const nlohmann::json& config() const override { return config_; }

  std::string name() const override { return name_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const Origin& origin = origins_.at(name);
    if (origin.model == nullptr) {
      at::from_blob(destination, {count}, origin.dtype)
          .copy_(normal(key_, static_cast<uint64_t>(origin.layer), begin, count).mul_(deviation_));
    } else if (origin.stored == origin.dtype) {
      origin.model->read_range(origin.name, begin, count, destination);
    } else {
      read_converted(origin, begin, at::from_blob(destination, {count}, origin.dtype));
    }
  }

  void check_unchanged() const override {
    for (const auto& [text, model] : models_) {
      model.model().check_unchanged();
    }
  }

 private:
  // Where a tensor comes from.
  struct Origin {
    at::ScalarType dtype = at::kFloat;   // as the mixture has it
    int64_t layer = 0;                   // of a router
    const ModelSource* model = nullptr;  // nullptr: a router
    std::string name = {};               // in the model
    at::ScalarType stored = at::kFloat;  // there
  };

  // Each once, however many experts it is.
  const DenseModel& open(const std::string& text, HfFolderOptions options) {
    const auto it = models_.find(text);
    return it != models_.end() ? it->second
                               : models_.try_emplace(text, *parse_model(text), options).first->second;
  }

  static void read_converted(const Origin& origin, int64_t begin, const at::Tensor& destination) {
    const int64_t count = destination.numel();
    at::Tensor stored = at::empty({std::min(count, kMixtureBlock)}, origin.stored);
    for (int64_t done = 0; done < count; done += kMixtureBlock) {
      const int64_t n = std::min(kMixtureBlock, count - done);
      origin.model->read_range(origin.name, begin + done, n, stored.mutable_data_ptr());
      destination.narrow(0, done, n).copy_(stored.narrow(0, 0, n));
    }
  }

  void add(const std::string& name, at::ScalarType dtype, const DenseModel& model,
           const std::string& theirs) {
    const TensorInfo& info = model.info(theirs);
    tensors_.push_back({name, info.shape, dtype});
    origins_.emplace(name,
                     Origin{.dtype = dtype, .model = &model.model(), .name = theirs, .stored = info.dtype});
  }

  void add_expert(const DenseModel& base, const DenseModel& expert) {
    for (int64_t layer = 0; layer < base.layers(); ++layer) {
      for (const MlpMatrix& matrix : kMlpMatrices) {
        const std::string dense = mlp_name(layer, matrix);
        const std::string name = layer_prefix(layer) + "block_sparse_moe.experts." +
                                 std::to_string(experts_) + "." + matrix.expert + ".weight";
        add(name, base.info(dense).dtype, expert, dense);
      }
    }
    ++experts_;
  }

  std::string name_;
  Parameters parameters_;
  std::map<std::string, DenseModel> models_;  // by text
  int64_t experts_ = 0;
  std::map<std::string, Origin> origins_;
  uint64_t key_ = 0;
  double deviation_ = 0;
  std::vector<TensorInfo> tensors_;
  nlohmann::json config_;
};

class MixtureSpec final : public ModelSpec {
 public:
  explicit MixtureSpec(Written written) : written_(std::move(written)) {}

  std::vector<std::filesystem::path> folders() const override {
    std::vector<std::filesystem::path> all = parse_model(written_.base)->folders();
    for (const std::string& expert : written_.experts) {
      const auto theirs = parse_model(expert)->folders();
      std::copy_if(theirs.begin(), theirs.end(), std::back_inserter(all), [&](const auto& folder) {
        return std::find(all.begin(), all.end(), folder) == all.end();
      });
    }
    return all;
  }
  std::string default_name() const override { return parse_model(written_.base)->default_name() + "-moe"; }
  std::string identity() const override {
    std::vector<std::string> experts;
    for (const std::string& expert : written_.experts) {
      experts.push_back(parse_model(expert)->identity());
    }
    return "moe{experts_per_token=" + number_text(written_.parameters.experts_per_token) +
           ",seed=" + number_text(written_.parameters.seed) + "}(" + parse_model(written_.base)->identity() +
           "; " + join(experts, ", ") + ")";
  }
  std::unique_ptr<ModelSource> open(const ModelSource*, HfFolderOptions options) const override {
    return std::make_unique<Mixture>(written_, options);
  }
  nlohmann::json config(HfFolderOptions options) const override {
    return Mixture(written_, options).config();
  }

 private:
  Written written_;
};

// "BASE; EXPERT, EXPERT"
void parse_models(const std::string& inside, Written& written) {
  const auto fail = [&](const std::string& seen) {
    throw ConfigError("a mixture must be written " + std::string(kFormat) + ", but '" + written.text + "' " +
                      seen);
  };
  const auto parts = split(inside, ';');
  if (parts.size() > 2) {
    fail("has more than one ';'");
  }
  written.base = trim(parts[0]);
  if (written.base.empty()) {
    fail("has no BASE");
  }
  if (parts.size() == 1) {
    written.experts.assign(static_cast<size_t>(written.parameters.num_experts), written.base);
    if (written.experts.empty()) {
      fail("has no experts; list them, or write num_experts=N for copies of BASE's MLPs");
    }
    return;
  }
  for (const std::string& expert : split(parts[1], ',')) {
    written.experts.push_back(trim(expert));
    if (written.experts.back().empty()) {
      fail("has an expert without a name");
    }
  }
  if (written.parameters.num_experts != 0) {
    fail("has num_experts as well as a list of experts; leave one of the two out");
  }
}

}  // namespace

std::unique_ptr<ModelSpec> parse_mixture(const std::string& text) {
  if (!text.starts_with("moe(") && !text.starts_with("moe{")) {
    return nullptr;
  }
  const size_t open = text.find('(');
  if (open == std::string::npos || text.back() != ')') {
    throw ConfigError("a mixture must be written " + std::string(kFormat) + ", but '" + text +
                      "' has no list in parentheses at its end; quote it for the shell");
  }
  Written written;
  written.text = text;
  ParamReader reader("the mixture", parse_call(text.substr(0, open)).second);
  written.parameters.describe(reader);
  reader.expect_all_read();
  parse_models(text.substr(open + 1, text.size() - open - 2), written);
  const auto experts = static_cast<int64_t>(written.experts.size());
  if (written.parameters.experts_per_token > experts) {
    throw ConfigError("experts_per_token must be at most the number of experts, " + number_text(experts) +
                      " in '" + text + "', but it is " + number_text(written.parameters.experts_per_token) +
                      (experts == 1 ? "; write experts_per_token=1" : ""));
  }
  return std::make_unique<MixtureSpec>(std::move(written));
}

}  // namespace fusegrid
