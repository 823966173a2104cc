#include "merge/aligned_vocabulary.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "checkpoint/buffers.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/layer_stack.h"
#include "checkpoint/tied_head.h"
#include "checkpoint/tokens.h"
#include "core/errors.h"
#include "core/text.h"
#include "merge/tied.h"

namespace fusegrid {
namespace {

using TokenIds = std::map<std::string, int64_t>;  // by text

bool is_numbered_by_tokens(const TensorInfo& info) {
  return is_merged(info) && !info.shape.empty() &&
         (is_token_embedding(info.name) || is_output_head(info.name) || is_output_bias(info.name));
}

// One tensor in one model.
struct Member {
  const ModelSource* source = nullptr;
  std::filesystem::path folder;  // whose tokens number its rows
  const TokenIds* ids = nullptr;
  const TensorInfo* info = nullptr;

  // The row of a token; nothing where the model lacks it.
  std::optional<int64_t> row(const std::string& token) const {
    const auto it = ids->find(token);
    return it == ids->end() ? std::nullopt : std::optional(it->second);
  }
};

// Where a row of the result comes from: rows of members, of which it is the mean; none: zero.
using RowSources = std::vector<std::pair<const Member*, int64_t>>;

// Reads rows of members in the dtype that all are rounded to.
struct RowReader {
  std::string tensor;
  int64_t width = 0;  // elements of a row
  at::ScalarType dtype = at::kFloat;

  at::Tensor read(const Member& member, int64_t row, int64_t count) const {
    at::Tensor rows = at::empty({count, width}, member.info->dtype);
    member.source->read_range(tensor, row * width, count * width, rows.mutable_data_ptr());
    return rows.to(dtype);
  }
  at::Tensor mean(const RowSources& sources) const {
    at::Tensor sum = at::zeros({1, width}, dtype);
    for (const auto& [member, row] : sources) {
      sum = sum + read(*member, row, 1);
    }
    return sources.size() > 1 ? sum / static_cast<int64_t>(sources.size()) : sum;
  }
};

// The rows of one tensor in one model, in the vocabulary of the result.
class AlignedTensor {
 public:
  // members: to which `rows` refer
  AlignedTensor(RowReader reader, std::vector<std::shared_ptr<const Member>> members,
                std::vector<RowSources> rows, int64_t padded)
      : reader_(std::move(reader)), members_(std::move(members)), rows_(std::move(rows)), padded_(padded) {}

  at::ScalarType dtype() const { return reader_.dtype; }
  int64_t num_rows() const { return padded_; }

  // Elements [begin, begin + count), counted over the rows.
  void read(int64_t begin, int64_t count, void* destination) const {
    const int64_t first = begin / reader_.width;
    const int64_t end = (begin + count + reader_.width - 1) / reader_.width;
    auto* to = static_cast<char*>(destination);
    const auto size = static_cast<int64_t>(c10::elementSize(reader_.dtype));
    for (int64_t row = first; row < end;) {
      const int64_t run = std::min(run_at(row), end - row);
      const at::Tensor values = rows_at(row, run);
      const int64_t skipped = std::max(int64_t{0}, begin - row * reader_.width);
      const int64_t taken = std::min(values.numel(), begin + count - row * reader_.width) - skipped;
      std::memcpy(to, static_cast<const char*>(values.const_data_ptr()) + skipped * size,
                  static_cast<size_t>(taken * size));
      to += taken * size;
      row += run;
    }
  }

 private:
  bool follows(size_t row) const {
    return rows_[row].size() == 1 && rows_[row - 1].size() == 1 &&
           rows_[row][0].first == rows_[row - 1][0].first &&
           rows_[row][0].second == rows_[row - 1][0].second + 1;
  }
  // How many rows from here on lie behind each other in one model.
  int64_t run_at(int64_t row) const {
    auto end = static_cast<size_t>(row) + 1;
    while (end < rows_.size() && static_cast<size_t>(row) < rows_.size() && follows(end)) {
      ++end;
    }
    return static_cast<int64_t>(end) - row;
  }
  at::Tensor rows_at(int64_t row, int64_t count) const {
    if (static_cast<size_t>(row) >= rows_.size()) {
      return padding();
    }
    const RowSources& sources = rows_[static_cast<size_t>(row)];
    const bool is_one = sources.size() == 1;
    return is_one ? reader_.read(*sources[0].first, sources[0].second, count) : reader_.mean(sources);
  }
  // The mean of all rows that have a token; PyTorch's, of the whole matrix.
  at::Tensor padding() const {
    const std::lock_guard lock(mutex_);
    if (!padding_.defined()) {
      at::Tensor all = at::empty({static_cast<int64_t>(rows_.size()), reader_.width}, reader_.dtype);
      read(0, all.numel(), all.mutable_data_ptr());
      padding_ = all.mean({0}).view({1, reader_.width});
    }
    return padding_;
  }

  RowReader reader_;
  std::vector<std::shared_ptr<const Member>> members_;
  std::vector<RowSources> rows_;
  int64_t padded_;
  mutable std::mutex mutex_;
  mutable at::Tensor padding_;
};

class WithAlignedVocabulary final : public ModelSource {
 public:
  WithAlignedVocabulary(std::unique_ptr<ModelSource> model,
                        std::map<std::string, std::shared_ptr<const AlignedTensor>> aligned)
      : model_(std::move(model)), aligned_(std::move(aligned)), tensors_(model_->tensors()) {
    for (TensorInfo& info : tensors_) {
      if (const auto it = aligned_.find(info.name); it != aligned_.end()) {
        info.shape[0] = it->second->num_rows();
        info.dtype = it->second->dtype();
      }
    }
  }

  std::string name() const override { return model_->name(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return model_->config(); }
  std::optional<LowRankFactors> factors(const std::string& name) const override {
    return aligned_.contains(name) ? std::nullopt : model_->factors(name);
  }
  void check_unchanged() const override { model_->check_unchanged(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override {
    const auto it = aligned_.find(name);
    if (it == aligned_.end()) {
      model_->read_range(name, begin, count, destination);
    } else {
      it->second->read(begin, count, destination);
    }
  }

 private:
  std::unique_ptr<ModelSource> model_;
  std::map<std::string, std::shared_ptr<const AlignedTensor>> aligned_;
  std::vector<TensorInfo> tensors_;
};

class Alignment {
 public:
  Alignment(const MergeSpec& spec, const OutputTokens& tokens, const std::vector<AlignedModel>& models)
      : spec_(spec), rules_(*spec.vocabulary), tokens_(tokens), models_(models), aligned_(models.size()) {}

  void run() {
    std::set<std::string> names;
    for (const AlignedModel& model : models_) {
      for (const TensorInfo& info : (*model.source)->tensors()) {
        if (is_numbered_by_tokens(info)) {
          names.insert(info.name);
        }
      }
    }
    for (const std::string& name : names) {
      align(name);
    }
    for (size_t i = 0; i < models_.size(); ++i) {
      *models_[i].source =
          std::make_unique<WithAlignedVocabulary>(std::move(*models_[i].source), std::move(aligned_[i]));
    }
  }

 private:
  bool has_base() const { return spec_.base.has_value(); }  // then it is the first of the models

  const TokenIds& ids_of(const std::filesystem::path& folder) {
    const auto [it, is_new] = ids_.try_emplace(folder);
    if (is_new) {
      Tokens tokens = tokens_of(folder, spec_.reading());
      if (tokens.empty()) {  // a model without a tokenizer is taken to have the first one's
        tokens = tokens_of(rules_.models.front(), spec_.reading());
      }
      for (const auto& [id, text] : tokens) {
        it->second.emplace(text, id);
      }
    }
    return it->second;
  }

  // The tensor in every model that has it.
  std::vector<std::shared_ptr<const Member>> members_of(const std::string& tensor) {
    std::vector<std::shared_ptr<const Member>> all;
    for (const AlignedModel& model : models_) {
      const TensorInfo* const info = find_tensor(**model.source, tensor);
      if (info == nullptr) {
        all.push_back(nullptr);
        continue;
      }
      const std::filesystem::path& folder =
          is_behind_layers(tensor) ? model.folders.back() : model.folders.front();
      all.push_back(std::make_shared<Member>(Member{model.source->get(), folder, &ids_of(folder), info}));
      check_rows(*all.back());
    }
    return all;
  }

  void check_rows(const Member& member) const {
    for (const std::string& token : tokens_.tokens) {
      if (const auto row = member.row(token); row && *row >= member.info->shape[0]) {
        throw ConfigError(
            "a model must have a row for each token that the result has, but the tokenizer of '" +
            member.folder.string() + "' has " + printable(token) + " as id " + std::to_string(*row) +
            " and '" + member.info->name + "' " + std::to_string(member.info->shape[0]) +
            " rows; resize the model before (resize_token_embeddings)");
      }
    }
  }

  // Those that are merged into the tensor: the experts of its part, and the base where it is more than the reference.
  std::vector<const Member*> merged(const std::string& tensor,
                                    const std::vector<std::shared_ptr<const Member>>& members) const {
    const auto& parts = spec_.methods.front().parts;
    const auto part = std::find_if(parts.begin(), parts.end(), [&](const MergePart& candidate) {
      return candidate.tensors.contains(tensor);
    });
    std::vector<const Member*> all;
    for (size_t i = 0; i < members.size(); ++i) {
      const bool is_base = has_base() && i == 0;
      const size_t expert = has_base() ? i - 1 : i;
      const bool takes_part =
          is_base ? rules_.base.has_value()
                  : part == parts.end() || part->experts.empty() ||
                        std::find(part->experts.begin(), part->experts.end(), expert) != part->experts.end();
      const bool is_there_twice = std::any_of(all.begin(), all.end(), [&](const Member* other) {
        return members[i] != nullptr && other->folder == members[i]->folder;
      });
      if (takes_part && members[i] != nullptr && !is_there_twice) {
        all.push_back(members[i].get());
      }
    }
    return all;
  }

  void align(const std::string& tensor) {
    const auto members = members_of(tensor);
    const std::vector<const Member*> group = merged(tensor, members);
    const TensorInfo& first = *group.front()->info;
    RowReader reader{tensor, first.numel() / std::max(int64_t{1}, first.shape[0]),
                     spec_.model_dtype.value_or(promoted(group))};
    const std::vector<RowSources> stand_ins = stand_ins_of(group);
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i] != nullptr) {
        aligned_[i].emplace(tensor, std::make_shared<AlignedTensor>(
                                        reader, members, rows_of(*members[i], stand_ins), tokens_.rows));
      }
    }
  }

  static at::ScalarType promoted(const std::vector<const Member*>& group) {
    at::ScalarType dtype = group.front()->info->dtype;
    for (const Member* member : group) {
      dtype = c10::promoteTypes(dtype, member->info->dtype);
    }
    return dtype;
  }

  const TokenRule* rule_of(const std::string& token) const {
    const auto it = std::find_if(rules_.rules.begin(), rules_.rules.end(),
                                 [&](const TokenRule& rule) { return rule.token == token; });
    return it == rules_.rules.end() ? nullptr : &*it;
  }

  // Of each token, what stands in for it where a model lacks it, or a rule is forced on it.
  std::vector<RowSources> stand_ins_of(const std::vector<const Member*>& group) const {
    std::vector<RowSources> all;
    for (const std::string& token : tokens_.tokens) {
      if (const TokenRule* const rule = rule_of(token)) {
        const bool is_needed =
            rule->force || std::any_of(group.begin(), group.end(),
                                       [&](const Member* member) { return !member->row(token); });
        all.push_back(is_needed ? by_rule(*rule, group) : RowSources());
      } else {
        all.push_back(by_default(token, group));
      }
    }
    return all;
  }

  RowSources by_default(const std::string& token, const std::vector<const Member*>& group) const {
    RowSources owners;
    for (const Member* member : group) {
      if (const auto row = member->row(token)) {
        owners.emplace_back(member, *row);
      }
    }
    for (const auto& owner : owners) {
      if (rules_.base && owner.first->folder == *rules_.base) {
        return {owner};
      }
    }
    return owners;
  }

  static RowSources by_rule(const TokenRule& rule, const std::vector<const Member*>& group) {
    if (rule.kind == TokenRule::Kind::kZero) {
      return {};
    }
    const auto it = std::find_if(group.begin(), group.end(),
                                 [&](const Member* member) { return member->folder == rule.model; });
    const std::string whose = rule.origin + ": the row of token " + printable(rule.token);
    if (it == group.end()) {
      throw ConfigError(whose + " must come from a model that is merged, but '" + rule.model.string() +
                        "' is none of them (of the first or last slice)");
    }
    const Member& member = **it;
    const std::string& text = rule.kind == TokenRule::Kind::kModel ? rule.token : rule.other_token;
    const auto row = rule.other_id ? rule.other_id : member.row(text);
    if (!row || *row < 0 || *row >= member.info->shape[0]) {
      throw ConfigError(
          whose + " must be one of '" + rule.model.string() + "', but that has no " +
          (rule.other_id ? "row " + std::to_string(*rule.other_id) : "token " + printable(text)));
    }
    return {{&member, *row}};
  }

  std::vector<RowSources> rows_of(const Member& member, const std::vector<RowSources>& stand_ins) const {
    std::vector<RowSources> rows;
    for (size_t i = 0; i < tokens_.tokens.size(); ++i) {
      const TokenRule* const rule = rule_of(tokens_.tokens[i]);
      const auto own = member.row(tokens_.tokens[i]);
      rows.push_back(own && !(rule != nullptr && rule->force) ? RowSources{{&member, *own}} : stand_ins[i]);
    }
    return rows;
  }

  const MergeSpec& spec_;
  const VocabularySpec& rules_;
  const OutputTokens& tokens_;
  const std::vector<AlignedModel>& models_;
  std::vector<std::map<std::string, std::shared_ptr<const AlignedTensor>>> aligned_;  // of each model
  std::map<std::filesystem::path, TokenIds> ids_;
};

}  // namespace

void align_vocabularies(const MergeSpec& spec, const OutputTokens& tokens,
                        const std::vector<AlignedModel>& models) {
  Alignment(spec, tokens, models).run();
}

}  // namespace fusegrid
