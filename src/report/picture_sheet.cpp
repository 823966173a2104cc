#include "report/picture_sheet.h"

#include <algorithm>
#include <utility>

#include "core/cell.h"
#include "core/png.h"
#include "report/layout.h"

namespace fusegrid {
namespace {

// A fact of a row's cell where it is a picture; results come from files, so nothing else gets into a page.
std::string url_of(const Records& records, const Board& board, const Row& row, const std::string& task,
                   const std::string& fact) {
  // the name of a row's record says some parameters where rows of one method are told apart
  const std::string method = row.setting.method.substr(0, row.setting.method.find('{'));
  const Cell cell{board.zoo,           board.experts, method,     row.setting.named,
                  board.seeds.front(), task,          board.shift};
  const auto result = records.results.find(cell.name());
  if (result == records.results.end()) {
    return "";
  }
  const auto url = result->second.facts.find(fact);
  return url != result->second.facts.end() && is_png_url(url->second) ? url->second : "";
}

PictureSheet::Row pictures_of(const Records& records, const Board& board, const Row& row) {
  PictureSheet::Row pictures{row.method.title, {}};
  for (const std::string& task : board.tasks) {
    pictures.urls.push_back(url_of(records, board, row, task, "pictures test"));
  }
  return pictures;
}

// They are the same whatever the row, and recorded with each.
PictureSheet::Row real_pictures(const Records& records, const Board& board) {
  PictureSheet::Row pictures{"Real pictures", std::vector<std::string>(board.tasks.size())};
  for (const Row& row : board.rows) {
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      if (pictures.urls[task].empty()) {
        pictures.urls[task] = url_of(records, board, row, board.tasks[task], "real pictures test");
      }
    }
  }
  return pictures;
}

void keep_tasks_with_pictures(PictureSheet& sheet) {
  for (size_t task = sheet.tasks.size(); task-- > 0;) {
    const bool empty = std::all_of(sheet.rows.begin(), sheet.rows.end(),
                                   [&](const PictureSheet::Row& row) { return row.urls[task].empty(); });
    if (empty) {
      const auto place = static_cast<int64_t>(task);
      sheet.tasks.erase(sheet.tasks.begin() + place);
      for (PictureSheet::Row& row : sheet.rows) {
        row.urls.erase(row.urls.begin() + place);
      }
    }
  }
}

}  // namespace

std::vector<PictureSheet> picture_sheets(const ReportPart& part) {
  std::vector<PictureSheet> sheets;
  for (const Board& board : part.shown) {
    PictureSheet sheet{board_title(board) + ", seed " + std::to_string(board.seeds.front()), board.tasks, {}};
    sheet.rows.push_back(real_pictures(part.records, board));
    for (const Row& row : board.rows) {
      sheet.rows.push_back(pictures_of(part.records, board, row));
    }
    keep_tasks_with_pictures(sheet);
    if (!sheet.tasks.empty()) {
      sheets.push_back(std::move(sheet));
    }
  }
  return sheets;
}

}  // namespace fusegrid
