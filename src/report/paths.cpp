#include <algorithm>
#include <map>

#include "core/params.h"
#include "core/text.h"
#include "report/board.h"

namespace fusegrid {
namespace {

constexpr const char* kPosition = "t";

std::string text_of(const ParamText& parameters) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : parameters) {
    parts.push_back(name + "=" + value);
  }
  return join(parts, ", ");
}

// The largest of `height(i)` above the chord between the first and the last.
template <typename Height>
double above_the_chord(const std::vector<Path::Point>& points, const Height& height) {
  const double first = height(points.front()), last = height(points.back());
  double most = 0;
  for (const Path::Point& point : points) {
    most = std::max(most, height(point) - (1 - point.t) * first - point.t * last);
  }
  return most;
}

const std::string& title_of(const Board& board, const std::string& method) {
  const auto row = std::find_if(board.rows.begin(), board.rows.end(),
                                [&](const Row& each) { return each.method.name == method; });
  return row == board.rows.end() ? method : row->method.title;
}

}  // namespace

std::vector<Path> make_paths(const Board& board) {
  std::map<std::pair<std::string, std::string>, std::map<double, const Setting*>> by_t;
  for (const Setting& setting : board.settings) {
    ParamText parameters = parse_call("m{" + setting.parameters + "}").second;
    const auto t = parameters.find(kPosition);
    if (t == parameters.end() || !setting.test_score) {
      continue;
    }
    const double position = parse_double(t->second, kPosition);
    parameters.erase(t);
    by_t[{setting.method, text_of(parameters)}][position] = &setting;
  }
  std::vector<Path> paths;
  for (const auto& [key, settings] : by_t) {
    if (settings.size() < 3 || settings.begin()->first != 0 || settings.rbegin()->first != 1) {
      continue;
    }
    Path path{title_of(board, key.first), key.second, {}, 0, {}};
    bool have_loss = true;
    for (const auto& [t, setting] : settings) {
      path.points.push_back({t, *setting->test_score, setting->test_loss.value_or(0)});
      have_loss = have_loss && setting->test_loss;
    }
    const double worse = board.score.better == Better::kHigher ? -1 : 1;
    path.score_barrier =
        above_the_chord(path.points, [&](const Path::Point& point) { return worse * point.score; });
    if (have_loss) {
      path.loss_barrier = above_the_chord(path.points, [](const Path::Point& point) { return point.loss; });
    }
    paths.push_back(std::move(path));
  }
  return paths;
}

}  // namespace fusegrid
