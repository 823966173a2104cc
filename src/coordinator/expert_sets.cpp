#include "coordinator/expert_sets.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr int64_t kMostDraws = 10'000;
constexpr int64_t kMostExperts = 10'000;

// "random(2:4, 20)"
struct Draw {
  std::string kind;  // "random" or "nested"
  std::vector<int64_t> sizes;
  int64_t count = 0;
};

[[noreturn]] void refuse(const std::string& text) {
  throw ConfigError(
      "'experts = " + text +
      "' must be random(K, R) or nested(K, R), with K experts as 3, 2..6 or 2:4:8 and R draws up to " +
      std::to_string(kMostDraws));
}

int64_t number_in(const std::string& text, const std::string& number, int64_t highest) {
  if (number.empty() || number.size() > 9 || number.find_first_not_of("0123456789") != std::string::npos) {
    refuse(text);
  }
  const int64_t value = parse_int(number, "a number of 'experts'");
  if (value < 1 || value > highest) {
    refuse(text);
  }
  return value;
}

std::vector<int64_t> sizes_in(const std::string& text, const std::string& sizes) {
  std::vector<int64_t> found;
  if (const auto dots = sizes.find(".."); dots != std::string::npos) {
    const int64_t first = number_in(text, sizes.substr(0, dots), kMostExperts);
    const int64_t last = number_in(text, sizes.substr(dots + 2), kMostExperts);
    for (int64_t size = first; size <= last; ++size) {
      found.push_back(size);
    }
  } else {
    for (const std::string& size : split(sizes, ':')) {
      found.push_back(number_in(text, size, kMostExperts));
    }
  }
  const std::set<int64_t> different(found.begin(), found.end());
  if (found.empty() || different.size() != found.size()) {
    refuse(text);
  }
  return found;
}

// nullopt where the text has no parenthesis: it is none.
std::optional<Draw> parse_draw(const std::string& text) {
  const auto open = text.find('(');
  if (open == std::string::npos) {
    return std::nullopt;
  }
  const std::string kind = text.substr(0, open);
  const auto parts = split(text.substr(open + 1, text.size() - open - 2), ',');
  if ((kind != "random" && kind != "nested") || text.back() != ')' || parts.size() != 2) {
    refuse(text);
  }
  return Draw{kind, sizes_in(text, trim(parts[0])), number_in(text, trim(parts[1]), kMostDraws)};
}

// A number below `bound`, of a stream of 32-bit words.
class Words {
 public:
  Words(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}
  size_t below(size_t bound) {
    const uint32_t word = philox(key_, stream_, next_ / 4)[next_ % 4];
    ++next_;
    return static_cast<size_t>((static_cast<uint64_t>(word) * bound) >> 32);
  }

 private:
  uint64_t key_, stream_, next_ = 0;
};

// The numbers below `experts` in a random order, of which the first `count` are drawn.
std::vector<size_t> random_order(size_t experts, size_t count, uint64_t key, uint64_t stream) {
  std::vector<size_t> order(experts);
  std::iota(order.begin(), order.end(), size_t{0});
  Words words(key, stream);
  for (size_t i = 0; i < count; ++i) {
    std::swap(order[i], order[i + words.below(experts - i)]);
  }
  return order;
}

ExpertSet drawn_set(const Zoo& zoo, std::vector<size_t> order, int64_t size, const std::string& draw) {
  order.resize(static_cast<size_t>(size));
  std::sort(order.begin(), order.end());
  const auto names = zoo.expert_names();
  std::vector<std::string> experts;
  for (const size_t expert : order) {
    experts.push_back(names[expert]);
  }
  return {canonical_experts(zoo, experts), draw};
}

// Whether there are `count` sets of `size` of `experts`.
bool has_sets(int64_t experts, int64_t size, int64_t count) {
  double sets = 1;
  for (int64_t i = 0; i < size; ++i) {
    sets = sets * static_cast<double>(experts - i) / static_cast<double>(i + 1);
  }
  return std::round(sets) >= static_cast<double>(count);
}

std::vector<ExpertSet> random_sets(const Zoo& zoo, int64_t size, int64_t count) {
  const auto experts = static_cast<int64_t>(zoo.experts.size());
  if (!has_sets(experts, size, count)) {
    throw ConfigError("'experts = random(" + std::to_string(size) + ", " + std::to_string(count) +
                      ")' draws different sets, but the " + std::to_string(experts) + " experts of zoo '" +
                      zoo.name + "' have fewer of that size; draw fewer");
  }
  const uint64_t key =
      derive_key(0, "experts/random/" + std::to_string(experts) + "/" + std::to_string(size));
  std::vector<ExpertSet> sets;
  std::set<std::string> seen;
  for (uint64_t stream = 0; std::ssize(sets) < count; ++stream) {
    const auto order = random_order(static_cast<size_t>(experts), static_cast<size_t>(size), key, stream);
    ExpertSet set = drawn_set(zoo, order, size, "random " + std::to_string(sets.size()));
    if (seen.insert(set.experts).second) {
      sets.push_back(std::move(set));
    }
  }
  return sets;
}

std::vector<ExpertSet> nested_sets(const Zoo& zoo, int64_t size, int64_t count) {
  const size_t experts = zoo.experts.size();
  const uint64_t key = derive_key(0, "experts/nested/" + std::to_string(experts));
  std::vector<ExpertSet> sets;
  for (int64_t draw = 0; draw < count; ++draw) {
    sets.push_back(drawn_set(zoo, random_order(experts, experts, key, static_cast<uint64_t>(draw)), size,
                             "nested " + std::to_string(draw)));
  }
  return sets;
}

std::vector<ExpertSet> drawn_sets(const Zoo& zoo, const std::string& text, const Draw& draw) {
  std::vector<ExpertSet> sets;
  for (const int64_t size : draw.sizes) {
    if (size > static_cast<int64_t>(zoo.experts.size())) {
      throw ConfigError("'experts = " + text + "' draws " + std::to_string(size) + " experts, but zoo '" +
                        zoo.name + "' has " + std::to_string(zoo.experts.size()));
    }
    const auto of_size =
        draw.kind == "random" ? random_sets(zoo, size, draw.count) : nested_sets(zoo, size, draw.count);
    sets.insert(sets.end(), of_size.begin(), of_size.end());
  }
  return sets;
}

std::vector<ExpertSet> counted_sets(const Zoo& zoo, const std::string& text, size_t dots) {
  const int64_t first = parse_int(text.substr(0, dots), "the first number of 'experts'");
  const int64_t last = parse_int(text.substr(dots + 2), "the last number of 'experts'");
  if (first < 1 || last < first || last > static_cast<int64_t>(zoo.experts.size())) {
    throw ConfigError("'experts = " + text + "' must be a range within 1.." +
                      std::to_string(zoo.experts.size()) + ", the number of experts of zoo '" + zoo.name +
                      "'");
  }
  std::vector<ExpertSet> sets;
  for (int64_t n = first; n <= last; ++n) {
    sets.push_back({number_text(n), ""});
  }
  return sets;
}

}  // namespace

std::vector<ExpertSet> expert_sets(const Zoo& zoo, const std::string& text) {
  if (text == "all") {
    return {{number_text(static_cast<int64_t>(zoo.experts.size())), ""}};
  }
  if (const auto draw = parse_draw(text)) {
    return drawn_sets(zoo, text, *draw);
  }
  if (const auto dots = text.find(".."); dots != std::string::npos) {
    return counted_sets(zoo, text, dots);
  }
  return {{canonical_experts(zoo, zoo.experts_called(text)), ""}};
}

void check_experts_text(const std::string& text) {
  parse_draw(text);
}

std::string canonical_experts(const Zoo& zoo, const std::vector<std::string>& experts) {
  const auto all = zoo.expert_names();
  const bool prefix = experts.size() <= all.size() && std::equal(experts.begin(), experts.end(), all.begin());
  return prefix ? number_text(static_cast<int64_t>(experts.size())) : join(experts, "+");
}

}  // namespace fusegrid
