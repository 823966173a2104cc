#include "store/pretraining_pool.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/errors.h"
#include "core/text.h"
#include "store/pack_arrays.h"

namespace fusegrid {
namespace {

using packs::fail;

constexpr const char* kPoolMaker =
    "tools/data_python tools/make_pretraining_pool.py (images), tools/data_python tools/make_text_pool.py "
    "(texts) "
    "or tools/data_python tools/make_seq2seq_pool.py (text to text)";
constexpr double kShareTolerance = 1e-6;  // of a sum

const std::map<std::string, std::set<std::string>>& arrays_of_kinds() {
  static const std::map<std::string, std::set<std::string>> arrays = {
      {"mask", {"images", "labels"}},
      {"pairs", {"tokens", "tokens_offsets", "partners", "partners_offsets"}},
      {"rgb", {"images", "labels"}},
      {"text", {"tokens", "tokens_offsets"}},
  };
  return arrays;
}

bool has_images(const PoolSourceInfo& source) {
  return source.kind == "mask" || source.kind == "rgb";
}

// Checks that the source has the arrays of its kind; the kind.
std::string check_kind(const hdf5::Group& source) {
  std::string kind = source.text_attribute("kind");
  const auto arrays = arrays_of_kinds().find(kind);
  if (arrays == arrays_of_kinds().end()) {
    fail(source.where(), "kind must be one of mask, pairs, rgb, text, but it is '" + kind + "'");
  }
  packs::check_members(source, arrays->second,
                       "a source of the kind " + kind + " has the arrays " +
                           join({arrays->second.begin(), arrays->second.end()}, ", ") + " and no other");
  return kind;
}

double read_share(const hdf5::Group& source) {
  const double share = source.real_attribute("share");
  if (!(share > 0 && share <= 1)) {
    fail(source.where(), "share must be in (0, 1], but it is " + number_text(share));
  }
  return share;
}

// Of a source of images.
int64_t read_classes(const hdf5::Group& source) {
  const int64_t classes = source.int_attribute("classes");
  if (classes < 2 || classes > packs::kMostClasses) {
    fail(source.where(), "a source of images has 2 to " + std::to_string(packs::kMostClasses) +
                             " classes, but it says " + std::to_string(classes));
  }
  return classes;
}

void check_channels(const PoolSourceInfo& source, const packs::Rows& rows) {
  const int64_t channels = source.kind == "mask" ? 1 : 3;
  if (rows.image()->channels != channels) {
    fail(rows.where() + "/images", "images of the kind " + source.kind + " must have " +
                                       std::to_string(channels) + " channels, but these have " +
                                       std::to_string(rows.image()->channels));
  }
}

// Texts and pairs are batches of their own; what images leave of theirs is filled with examples of the tasks.
void check_shares(const std::vector<PoolSourceInfo>& sources, const std::string& where) {
  std::map<std::string, double> shares;
  for (const auto& source : sources) {
    shares[has_images(source) ? "images" : source.kind] += source.share;
  }
  for (const auto& [kind, share] : shares) {
    if (share > 1 + kShareTolerance || (kind != "images" && share < 1 - kShareTolerance)) {
      fail(where, "the shares of " + kind + " must add up to " + (kind == "images" ? "at most 1" : "1") +
                      ", but they add up to " + number_text(share));
    }
  }
}

}  // namespace

struct PretrainingPool::State {
  explicit State(const std::filesystem::path& pool) : path(pool), file(hdf5::File::open(pool)) {}
  void open_source(hdf5::Group group, const std::string& name);

  std::filesystem::path path;
  hdf5::File file;
  std::optional<TokenTable> table;
  std::vector<PoolSourceInfo> sources;
  std::map<std::string, packs::Rows> rows;  // by source
};

void PretrainingPool::State::open_source(hdf5::Group group, const std::string& name) {
  PoolSourceInfo source;
  source.name = name;
  source.kind = check_kind(group);
  source.share = read_share(group);
  source.classes = has_images(source) ? read_classes(group) : 0;
  const packs::Rows& opened = rows.emplace(name, packs::Rows(std::move(group))).first->second;
  source.examples = opened.examples();
  if (has_images(source)) {
    check_channels(source, opened);
  } else if (!table) {
    fail(opened.where(),
         "the source has tokens, so that the pool must have a group 'tokens', but it is missing");
  } else {
    source.longest_row =
        std::max(opened.longest("tokens"), source.kind == "pairs" ? opened.longest("partners") : 0);
  }
  sources.push_back(std::move(source));
}

PretrainingPool::PretrainingPool(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {
  const auto root = state_->file.root();
  packs::check_format(root, "fusegrid-pretraining-pool", kPoolMaker);
  state_->table = packs::read_token_table(root);
  const auto sources = root.group("sources");
  for (const auto& name : sources.members()) {
    state_->open_source(sources.group(name), name);
  }
  if (state_->sources.empty()) {
    fail(sources.where(), "a pretraining pool has at least one source, but this one has none");
  }
  check_shares(state_->sources, sources.where());
}

PretrainingPool::~PretrainingPool() = default;
PretrainingPool::PretrainingPool(PretrainingPool&&) noexcept = default;

const std::vector<PoolSourceInfo>& PretrainingPool::sources() const {
  return state_->sources;
}
const TokenTable* PretrainingPool::tokens() const {
  return state_->table ? &*state_->table : nullptr;
}

PoolRows PretrainingPool::read(const std::string& source, int64_t begin, int64_t count) const {
  const auto info = std::find_if(state_->sources.begin(), state_->sources.end(),
                                 [&](const PoolSourceInfo& known) { return known.name == source; });
  FUSEGRID_ASSERT(info != state_->sources.end(), "source " + source);
  const packs::Rows& from = state_->rows.at(source);
  const packs::Range range{begin, count};
  PoolRows rows;
  if (has_images(*info)) {
    rows.images = from.images(range);
    rows.labels = from.labels(range, info->classes);
  } else {
    rows.tokens = from.tokens("tokens", range, *tokens());
  }
  if (info->kind == "pairs") {
    rows.partners = from.tokens("partners", range, *tokens());
  }
  return rows;
}

std::vector<PoolSource> PretrainingPool::read_images() const {
  std::vector<PoolSource> images;
  for (const auto& source : state_->sources) {
    if (has_images(source)) {
      PoolRows rows = read(source.name, 0, source.examples);
      images.push_back({source.name, std::move(rows.images), std::move(rows.labels), source.classes,
                        source.share, source.kind == "mask"});
    }
  }
  if (images.empty()) {
    throw ConfigError("a pool of images must have a source of the kind mask or rgb, but '" +
                      state_->path.string() +
                      "' has only texts; make one with tools/make_pretraining_pool.py");
  }
  return images;
}

}  // namespace fusegrid
