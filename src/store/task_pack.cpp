#include "store/task_pack.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include "core/digest.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "store/pack_arrays.h"

namespace fusegrid {
namespace {

using nlohmann::json;
using packs::fail;

constexpr const char* kPackMaker =
    "tools/data_python and tools/make_task_pack.py (images), make_text_pack.py (texts), make_seq2seq_pack.py "
    "(text to "
    "text) or make_grid_pack.py (languages)";

constexpr int64_t kMostEulerSteps = 10000;

const std::vector<std::string>& split_names() {
  static const std::vector<std::string> names = {"train", "val", "test"};
  return names;
}

struct Kind {
  std::vector<std::set<std::string>> inputs;  // arrays: a task has those of exactly one of these
  std::vector<std::string> targets;           // arrays, all of them
};

const std::map<std::string, Kind>& kinds() {
  static const std::set<std::string> images{"images"}, tokens{"tokens"}, both{"images", "tokens"};
  static const std::map<std::string, Kind> all = {
      {"classify", {{images, tokens, both}, {"labels"}}},
      {"depth", {{images}, {"map_depth"}}},
      {"generate", {{tokens, both}, {"answers"}}},
      {"language_model", {{tokens}, {}}},
      {"multiple_choice", {{tokens}, {"choices", "labels"}}},
      {"normals", {{images}, {"map_normals"}}},
      {"regress", {{images, tokens, both}, {"values"}}},
      {"sample", {{images}, {"labels", "styles"}}},
      {"retrieve", {{both}, {}}},
      {"segment", {{images}, {"map_classes"}}},
  };
  return all;
}

// ---- JSON attributes

json read_attributes(const hdf5::Group& task) {
  const std::string text = packs::read_bytes(task, "attributes");
  try {
    json attributes = json::parse(text);
    if (!attributes.is_object()) {
      fail(task.where() + "/attributes",
           std::string("must be one JSON object, but it is of the type ") + attributes.type_name());
    }
    return attributes;
  } catch (const json::exception& error) {
    fail(task.where() + "/attributes",
         std::string("must be one JSON object in UTF-8, but it cannot be read: ") + error.what());
  }
}

const json& attribute(const TaskInfo& task, const std::string& name, const std::string& where) {
  const auto found = task.attributes.find(name);
  if (found == task.attributes.end()) {
    fail(where, "a task of the kind " + task.kind + " has '" + name + "', but it is missing");
  }
  return *found;
}

int64_t whole_attribute(const TaskInfo& task, const std::string& name, int64_t least, int64_t most,
                        const std::string& where) {
  const json& value = attribute(task, name, where);
  // Compared as a real number, which any number of JSON is.
  const bool ok = value.is_number_integer() && value.get<double>() >= static_cast<double>(least) &&
                  value.get<double>() <= static_cast<double>(most);
  if (!ok) {
    fail(where, "'" + name + "' must be a whole number in [" + std::to_string(least) + ", " +
                    std::to_string(most) + "], but it is " + value.dump());
  }
  return value.get<int64_t>();
}

// list: "classes" or "styles".
std::vector<std::string> read_names(const TaskInfo& task, const std::string& list, const std::string& where) {
  const json& classes = attribute(task, list, where);
  if (!classes.is_array() || classes.size() < 2 || classes.size() > packs::kMostClasses) {
    fail(where, "'" + list + "' must be a list of 2 to " + std::to_string(packs::kMostClasses) +
                    " names, but it " +
                    (classes.is_array() ? "has " + std::to_string(classes.size())
                                        : std::string("is of the type ") + classes.type_name()));
  }
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const json& value : classes) {
    const auto* name = value.get_ptr<const std::string*>();
    if (name == nullptr || name->empty() || !seen.insert(*name).second) {
      fail(where, "names of " + list + " must be different texts and not empty, but number " +
                      std::to_string(names.size()) + " is " + value.dump());
    }
    names.push_back(*name);
  }
  return names;
}

// A number of a class that pixels have which do not count.
void check_ignore(const TaskInfo& task, const std::string& where) {
  if (task.attributes.contains("ignore")) {
    whole_attribute(task, "ignore", 0, packs::kMostClasses, where);
  }
}

// Of depths that a model answers in units of `sd` from `mean`.
void check_scale(const TaskInfo& task, const std::string& where) {
  for (const std::string name : {"mean", "sd"}) {
    const auto value = task.attributes.find(name);
    if (value != task.attributes.end() && !value->is_number()) {
      fail(where, "'" + name + "' must be a number, but it is " + value->dump());
    }
  }
  if (const double sd = task.attributes.value("sd", 1.0); !(sd > 0)) {
    fail(where, "'sd' must be above 0, but it is " + number_text(sd));
  }
}

void check_answer_attributes(const TaskInfo& task, const TokenTable& table, const std::string& where) {
  whole_attribute(task, "answer_start", 0, table.size() - 1, where);
  whole_attribute(task, "answer_end", 0, table.size() - 1, where);
  whole_attribute(task, "longest_answer", 2, std::numeric_limits<int32_t>::max(), where);
}

// Of a task of classes, texts that stand for each of them, as rows of ids: what zero-shot heads are made of.
void check_prompts(const TaskInfo& task, const TokenTable* table, const std::string& where) {
  const auto prompts = task.attributes.find("prompts");
  if (prompts == task.attributes.end()) {
    return;
  }
  if (table == nullptr || !prompts->is_array() || prompts->size() != task.class_names.size()) {
    fail(where, "'prompts' must be a list of rows of ids for each class, of a pack with the group 'tokens'");
  }
  const auto is_id = [&](const json& id) {
    return id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(table->size()) &&
           id.get<int64_t>() != table->pad;
  };
  const auto is_row = [&](const json& row) {
    return row.is_array() && !row.empty() && std::all_of(row.begin(), row.end(), is_id);
  };
  for (const json& rows : *prompts) {
    if (!rows.is_array() || rows.empty() || rows.size() != prompts->front().size() ||
        !std::all_of(rows.begin(), rows.end(), is_row)) {
      fail(where,
           "each class must have as many 'prompts' as the first, one or more, which are rows of ids of "
           "the vocabulary without padding, but one has " +
               rows.dump());
    }
  }
}

// ---- opening

std::string read_kind(const hdf5::Group& task) {
  std::string kind = task.text_attribute("kind");
  if (!kinds().contains(kind)) {
    std::vector<std::string> known;
    for (const auto& [name, arrays] : kinds()) {
      known.push_back(name);
    }
    fail(task.where(), "kind must be one of " + join(known, ", ") + ", but it is '" + kind +
                           "'; this program cannot read the task: make the pack without it");
  }
  return kind;
}

// "images", "tokens" or "images with tokens"
std::string inputs_text(const std::set<std::string>& arrays) {
  return join({arrays.begin(), arrays.end()}, " with ");
}

// Checks that the split has one of the inputs, all targets, groups, and no other array.
void check_arrays(const hdf5::Group& split, const std::string& kind) {
  const auto& [inputs, targets] = kinds().at(kind);
  std::set<std::string> seen;
  for (const std::string array : {"images", "tokens"}) {
    if (split.has(array)) {
      seen.insert(array);
    }
  }
  std::set<std::string> expected = std::ranges::count(inputs, seen) > 0 ? seen : inputs.front();
  expected.insert("groups");
  expected.insert(targets.begin(), targets.end());
  for (const std::string ragged : {"tokens", "answers", "choices"}) {
    if (expected.contains(ragged)) {
      expected.insert(ragged + "_offsets");
    }
  }
  if (expected.contains("choices")) {
    expected.insert("choices_rows");
  }
  std::vector<std::string> of_inputs;
  for (const auto& arrays : inputs) {
    of_inputs.push_back(inputs_text(arrays));
  }
  std::vector<std::string> words{join(of_inputs, " or ")};
  words.insert(words.end(), targets.begin(), targets.end());
  packs::check_members(split, expected,
                       "a split of the kind " + kind + " has the arrays " + join(words, ", ") +
                           " and groups (tokens, answers and choices with their offsets, choices with their "
                           "rows) and no other");
}

// Takes up what a split says about the inputs of its task, which are alike in all splits.
void add_inputs(TaskInfo& task, const packs::Rows& split, const packs::Rows& first) {
  if (split.image() != first.image() || split.has("tokens") != first.has("tokens")) {
    const auto text = [](const packs::Rows& rows) {
      const std::string images = rows.image() ? "images " + to_string(*rows.image()) : "";
      return images + (rows.image() && rows.has("tokens") ? " with " : "") +
             (rows.has("tokens") ? "tokens" : "");
    };
    fail(split.where(), "inputs must be alike in all splits of a task, but they are " + text(split) +
                            " here and " + text(first) + " in " + split_names().front());
  }
  if (split.image()) {
    task.image_height = split.image()->height;
    task.image_width = split.image()->width;
    task.image_channels = split.image()->channels;
  }
  if (split.has("tokens")) {
    task.longest_row = std::max(task.longest_row, split.longest("tokens"));
  }
  if (task.kind == "multiple_choice") {
    task.longest_with_choice = std::max(task.longest_with_choice, split.longest_with_choice());
  }
}

void check_longest(const TaskInfo& task, const packs::Rows& split) {
  const auto longest = task.attributes.at("longest_answer").get<int64_t>();
  if (split.longest("answers") > longest) {
    fail(split.where() + "/answers", "answers must have at most 'longest_answer' tokens, " +
                                         std::to_string(longest) + ", but one has " +
                                         std::to_string(split.longest("answers")));
  }
}

// What a task says about itself, all but what is in its splits.
TaskInfo read_info(const hdf5::Group& group, const std::string& name) {
  check_task_name(name, group.where() + ": the name of a task");
  TaskInfo task;
  task.name = name;
  task.kind = read_kind(group);
  task.pairs = task.kind == "retrieve";
  task.title = group.text_attribute("title");
  task.licence = group.text_attribute("licence");
  task.source = group.text_attribute("source");
  task.group_meaning = group.text_attribute("group_meaning");
  task.split_rule = group.text_attribute("split_rule");
  packs::check_members(group, {"attributes", "train", "val", "test"},
                       "a task has attributes and the splits train, val and test, and no more");
  task.attributes = read_attributes(group);
  const std::string where = group.where() + "/attributes";
  if (task.kind == "classify" || task.kind == "sample" || task.kind == "segment") {
    task.class_names = read_names(task, "classes", where);
  }
  if (task.kind == "sample") {
    task.style_names = read_names(task, "styles", where);
    if (task.attributes.contains("euler_steps")) {
      whole_attribute(task, "euler_steps", 1, kMostEulerSteps, where);
    }
  }
  if (task.kind == "segment") {
    check_ignore(task, where);
  } else if (task.kind == "depth") {
    check_scale(task, where);
  }
  for (const std::string attribute : {"domain", "metric", "task"}) {
    const auto text = task.attributes.find(attribute);
    if (text != task.attributes.end() && !text->is_string()) {
      fail(where, "'" + attribute + "' must be a text, but it is " + text->dump());
    }
  }
  return task;
}

// Tasks that are the same in other domains answer under one head.
void check_grid(const std::vector<TaskInfo>& tasks, const std::string& where) {
  std::map<std::string, const TaskInfo*> first;
  for (const TaskInfo& task : tasks) {
    const auto name = task.attributes.find("task");
    if (name == task.attributes.end()) {
      continue;
    }
    const TaskInfo& other = *first.emplace(name->get<std::string>(), &task).first->second;
    if (other.kind != task.kind || other.class_names != task.class_names) {
      fail(where, "tasks with the same 'task', here " + name->dump() +
                      ", must be of one kind and have the same classes, but " + other.name + " and " +
                      task.name + " differ");
    }
  }
}

std::shared_ptr<const PackJudge> read_judge(const hdf5::Group& root) {
  if (!root.has("judge")) {
    return nullptr;
  }
  const auto group = root.group("judge");
  packs::check_members(group, {"config", "tensors"}, "a judge has config and tensors, and no more");
  PackJudge judge;
  try {
    judge.config = json::parse(packs::read_bytes(group, "config"));
  } catch (const json::exception& error) {
    fail(group.where() + "/config", std::string("must be JSON, but it cannot be read: ") + error.what());
  }
  const auto tensors = group.group("tensors");
  for (const auto& name : tensors.members()) {
    const auto dataset = tensors.dataset(name);
    if (dataset.shape().empty()) {
      fail(dataset.where(), "a tensor of a judge has one dimension or more, but it is one number");
    }
    at::Tensor tensor = at::empty(dataset.shape(), at::kFloat);
    dataset.read(0, dataset.shape()[0], tensor.mutable_data_ptr<float>());
    if (!at::isfinite(tensor).all().item<bool>()) {
      fail(dataset.where(), "numbers of a judge must be finite, but one is not");
    }
    judge.tensors.emplace(name, std::move(tensor));
  }
  return std::make_shared<const PackJudge>(std::move(judge));
}

// ---- reading

// Decoding stops at the end of an answer, so that it stands at the end of every stored one and nowhere else. An answer
// without words could not be told from a model that has none.
void check_ends(const TokenRows& answers, int64_t end, const std::string& where) {
  for (int64_t i = 0; i < answers.size(); ++i) {
    const auto row = answers.row(i);
    if (row.back() != end || std::count(row.begin(), row.end(), end) != 1) {
      fail(where, "the last token of an answer and no other must be 'answer_end', " + std::to_string(end) +
                      ", but in row " + std::to_string(i) + " of those read it is not so");
    }
    if (row.size() == 1) {
      fail(where, "an answer must have a token before its end, but row " + std::to_string(i) +
                      " of those read has none: it is an empty text; leave the example out");
    }
  }
}

// The likelihood of a choice is divided by the bytes of its text.
void check_texts(const TokenRows& choices, const TokenTable& table, const std::string& where) {
  for (int64_t i = 0; i < choices.size(); ++i) {
    if (table.text(choices.row(i)).empty()) {
      fail(where, "a choice must have a text, but row " + std::to_string(i) +
                      " of those read has none beside special tokens and a space; leave the example out");
    }
  }
}

void check_labels(const at::Tensor& labels, const ChoiceRows& choices, const std::string& where) {
  const auto* label = labels.const_data_ptr<int64_t>();
  const auto* offset = choices.offsets.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < labels.size(0); ++i) {
    if (const int64_t count = offset[i + 1] - offset[i]; label[i] >= count) {
      fail(where, "labels must be less than the number of the example's choices, " + std::to_string(count) +
                      ", but that of example " + std::to_string(i) + " of those read is " +
                      std::to_string(label[i]));
    }
  }
}

at::Tensor read_maps(const TaskInfo& task, const packs::Rows& split, packs::Range range) {
  if (task.kind == "depth") {
    return split.map_depth(range);
  }
  if (task.kind == "normals") {
    return split.map_normals(range);
  }
  if (task.kind == "segment") {
    const auto ignore = task.attributes.find("ignore");
    return split.map_classes(
        range, static_cast<int64_t>(task.class_names.size()),
        ignore == task.attributes.end() ? std::nullopt : std::optional(ignore->get<int64_t>()));
  }
  return {};
}

Split read_targets(const TaskInfo& task, const packs::Rows& split, packs::Range range,
                   const TokenTable* table) {
  Split read;
  read.groups = split.groups(range);
  if (task.kind == "classify") {
    read.labels = split.labels(range, static_cast<int64_t>(task.class_names.size()));
  } else if (task.kind == "sample") {
    read.labels = split.labels(range, static_cast<int64_t>(task.class_names.size()));
    const at::Tensor styles = split.styles(range, static_cast<int64_t>(task.style_names.size()));
    read.conditions = at::stack({read.labels, styles + static_cast<int64_t>(task.class_names.size())}, 1);
  } else if (task.kind == "regress") {
    read.values = split.values(range);
  } else if (task.kind == "generate") {
    read.answers = split.tokens("answers", range, *table);
    check_ends(read.answers, task.attributes.at("answer_end").get<int64_t>(), split.where() + "/answers");
  } else if (task.kind == "multiple_choice") {
    read.choices = split.choices(range, *table);
    read.labels = split.labels(range, packs::kMostClasses);
    check_texts(read.choices.rows, *table, split.where() + "/choices");
    check_labels(read.labels, read.choices, split.where() + "/labels");
  }
  return read;
}

std::string unknown_text(const std::string& what, const std::string& name,
                         const std::vector<std::string>& known) {
  const std::string guess = nearest(name, known);
  return what + " must be one of " + join(known, ", ") + ", but it is '" + name + "'" +
         (guess.empty() ? "" : " (did you mean '" + guess + "'?)");
}

}  // namespace

struct TaskPack::State {
  explicit State(const std::filesystem::path& pack) : path(pack), file(hdf5::File::open(pack)) {}
  void open_task(const hdf5::Group& group, const std::string& name);
  const packs::Rows& split(const TaskInfo& task, const std::string& name) const;

  std::filesystem::path path;
  hdf5::File file;
  std::string suite;
  std::optional<TokenTable> table;
  std::shared_ptr<const PackJudge> judge;
  std::vector<TaskInfo> tasks;
  std::map<std::string, std::map<std::string, packs::Rows>> splits;  // by task
  std::once_flag hashed;
  std::string sha256;
};

void TaskPack::State::open_task(const hdf5::Group& group, const std::string& name) {
  TaskInfo task = read_info(group, name);
  auto& of_task = splits[name];
  for (const auto& split : split_names()) {
    check_arrays(group.group(split), task.kind);
    const packs::Rows& rows = of_task.emplace(split, packs::Rows(group.group(split))).first->second;
    add_inputs(task, rows, of_task.at(split_names().front()));
    task.examples[split] = rows.examples();
  }
  if (task.longest_row > 0 && !table) {
    fail(group.where(),
         "the task has tokens, so that the pack must have a group 'tokens', but it is missing");
  }
  if (task.kind == "sample") {
    if (!judge) {
      fail(group.where(),
           "the task is of the kind sample, so that the pack must have a judge, but it is missing");
    }
    task.judge = judge;
  }
  check_prompts(task, table ? &*table : nullptr, group.where() + "/attributes");
  if (task.kind == "generate") {
    check_answer_attributes(task, *table, group.where() + "/attributes");
    for (const auto& [split, rows] : of_task) {
      check_longest(task, rows);
    }
  }
  tasks.push_back(std::move(task));
}

const packs::Rows& TaskPack::State::split(const TaskInfo& task, const std::string& name) const {
  const auto& of_task = splits.at(task.name);
  const auto found = of_task.find(name);
  if (found == of_task.end()) {
    throw ConfigError(unknown_text("a split", name, split_names()));
  }
  return found->second;
}

TaskPack::TaskPack(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {
  const auto root = state_->file.root();
  packs::check_format(root, "fusegrid-task-pack", kPackMaker);
  state_->suite = root.text_attribute("suite");
  state_->table = packs::read_token_table(root);
  state_->judge = read_judge(root);
  const auto tasks = root.group("tasks");
  for (const auto& name : tasks.members()) {
    state_->open_task(tasks.group(name), name);
  }
  if (state_->tasks.empty()) {
    fail(tasks.where(), "a task pack has at least one task, but this one has none");
  }
  check_grid(state_->tasks, tasks.where());
}

TaskPack::~TaskPack() = default;
TaskPack::TaskPack(TaskPack&&) noexcept = default;

const std::filesystem::path& TaskPack::path() const {
  return state_->path;
}
const std::string& TaskPack::suite() const {
  return state_->suite;
}
const std::vector<TaskInfo>& TaskPack::tasks() const {
  return state_->tasks;
}
const TokenTable* TaskPack::tokens() const {
  return state_->table ? &*state_->table : nullptr;
}

const TaskInfo& TaskPack::task(const std::string& name) const {
  std::vector<std::string> known;
  for (const auto& task : state_->tasks) {
    if (task.name == name) {
      return task;
    }
    known.push_back(task.name);
  }
  throw ConfigError(unknown_text("a task of '" + state_->path.string() + "'", name, known));
}

Split TaskPack::read(const std::string& task, const std::string& split) const {
  return read(task, split, 0, state_->split(this->task(task), split).examples());
}

Split TaskPack::read(const std::string& task, const std::string& split, int64_t begin, int64_t count) const {
  const TaskInfo& info = this->task(task);
  const packs::Rows& from = state_->split(info, split);
  const packs::Range range{begin, count};
  Split read = read_targets(info, from, range, tokens());
  read.name = task + "/" + split;
  read.begin = begin;
  read.pairs = info.pairs;
  read.maps = read_maps(info, from, range);
  if (from.image()) {
    const at::Tensor images = from.images(range);
    // what is to be made has the channels that it is stored with
    read.images = info.kind == "sample" ? images : images.expand({-1, 3, -1, -1}).contiguous();
  }
  if (from.has("tokens")) {
    read.tokens = from.tokens("tokens", range, *tokens());
  }
  return read;
}

Split TaskPack::read_marks(const std::string& task, const std::string& split) const {
  const TaskInfo& info = this->task(task);
  const packs::Rows& from = state_->split(info, split);
  return read_targets(info, from, {0, from.examples()}, tokens());
}

std::string TaskPack::sha256() const {
  std::call_once(state_->hashed, [this] { state_->sha256 = digest_of_file(state_->path); });
  return state_->sha256;
}

}  // namespace fusegrid
