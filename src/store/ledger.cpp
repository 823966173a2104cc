#include "store/ledger.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/errors.h"

namespace fusegrid {
namespace {

using nlohmann::json;

void check_identifier(const std::string& text, const std::string& what) {
  const bool control = std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte < 0x20 || byte == 0x7f;
  });
  if (text.empty() || control) {
    throw DataError(what + " must be text without control characters, but it is " +
                    json(text).dump(-1, ' ', true, json::error_handler_t::replace));
  }
}

json method_json(const MethodRecord& method) {
  return {{"name", method.name},          {"title", method.title}, {"paper", method.paper},
          {"family", method.family},      {"data", method.data},   {"yields", method.yields},
          {"told_task", method.told_task}};
}

MethodRecord parse_method(const json& fields) {
  return {fields.at("name"), fields.at("title"),  fields.at("paper"),    fields.at("family"),
          fields.at("data"), fields.at("yields"), fields.at("told_task")};
}

json task_json(const TaskRecord& task) {
  return {{"zoo", task.zoo},       {"task", task.task}, {"kind", task.kind},  {"metric", task.metric},
          {"better", task.better}, {"unit", task.unit}, {"title", task.title}};
}

TaskRecord parse_task(const json& fields) {
  return {fields.at("zoo"),    fields.at("task"), fields.at("kind"), fields.at("metric"),
          fields.at("better"), fields.at("unit"), fields.at("title")};
}

RunInfo parse_run(const json& payload) {
  RunInfo run{payload.at("kind"),
              payload.at("plan_sha256"),
              payload.at("provenance"),
              payload.at("bindings").get<std::map<std::string, std::string>>(),
              {},
              {}};
  for (const json& method : payload.at("methods")) {
    run.methods.push_back(parse_method(method));
  }
  for (const json& task : payload.at("tasks")) {
    run.tasks.push_back(parse_task(task));
  }
  return run;
}

void add_run(RunInfo run, Records& records) {
  for (const auto& [key, value] : run.bindings) {
    records.bindings.emplace(key, Binding{value, records.runs.size()});
  }
  for (const auto& method : run.methods) {
    records.methods[method.name] = method;
  }
  for (const auto& task : run.tasks) {
    records.tasks[{task.zoo, task.task}] = task;
  }
  records.runs.push_back(std::move(run));
}

ExamplesRecord parse_examples(const json& payload) {
  ExamplesRecord examples{payload.at("zoo"), payload.at("task"), payload.at("split"),
                          values_of<int32_t>(payload.at("labels")),
                          values_of<uint32_t>(payload.at("groups"))};
  if (examples.labels.size() != examples.groups.size()) {
    throw DataError("an example has a label and a group, but the split '" + examples.split + "' of '" +
                    examples.zoo + "/" + examples.task + "' has " + std::to_string(examples.labels.size()) +
                    " and " + std::to_string(examples.groups.size()));
  }
  return examples;
}

void check_metrics(const Result& result) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& metric : result.metrics) {
    check_identifier(metric.name, "the name of a metric of '" + result.name + "'");
    check_identifier(metric.split, "the split of a metric of '" + result.name + "'");
    if (!seen.emplace(metric.name, metric.split).second) {
      throw DataError("a result has one value per metric and split, but '" + result.name + "' has two of '" +
                      metric.name + "' on '" + metric.split + "'");
    }
  }
}

void check_outcomes(const Result& result) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& outcomes : result.outcomes) {
    check_identifier(outcomes.split, "the split of outcomes of '" + result.name + "'");
    check_identifier(outcomes.metric, "the metric of outcomes of '" + result.name + "'");
    if (!seen.emplace(outcomes.split, outcomes.metric).second) {
      throw DataError("a result has one list of outcomes per split and metric, but '" + result.name +
                      "' has two of '" + outcomes.metric + "' on '" + outcomes.split + "'");
    }
    if (outcomes.width < 1 || static_cast<int64_t>(outcomes.rows.size()) % outcomes.width != 0) {
      throw DataError("outcomes are rows of 'width' numbers, but '" + result.name + "' has " +
                      std::to_string(outcomes.rows.size()) + " numbers and the width " +
                      std::to_string(outcomes.width) + " of '" + outcomes.metric + "' on '" + outcomes.split +
                      "'");
    }
  }
}

void check_predictions(const Result& result) {
  std::set<std::string> seen;
  for (const auto& predictions : result.predictions) {
    check_identifier(predictions.split, "the split of predictions of '" + result.name + "'");
    if (!seen.insert(predictions.split).second) {
      throw DataError("a result has one list of predictions per split, but '" + result.name +
                      "' has two of '" + predictions.split + "'");
    }
    for (const auto& outcomes : result.outcomes) {
      if (outcomes.split == predictions.split &&
          outcomes.examples() != static_cast<int64_t>(predictions.classes.size())) {
        throw DataError("outcomes and predictions are one per example, but '" + result.name + "' has " +
                        std::to_string(outcomes.examples()) + " and " +
                        std::to_string(predictions.classes.size()) + " on '" + outcomes.split + "'");
      }
    }
  }
}

}  // namespace

void Ledger::apply(FrameType type, uint64_t sequence, const json& payload) {
  if (type != FrameType::kClose) {
    changed = sequence;
  }
  switch (type) {
    case FrameType::kOpen:
      add_run(parse_run(payload), records);
      break;
    case FrameType::kResult: {
      auto result = payload.get<Result>();
      if (!is_settled(result)) {
        const std::string name = result.name;
        records.results.insert_or_assign(name, std::move(result));
      }
      break;
    }
    case FrameType::kPublish:
      publications.push_back({payload.at("sequence"), payload.at("sha256")});
      break;
    case FrameType::kClose:
      break;
    case FrameType::kExamples: {
      auto examples = parse_examples(payload);
      records.examples.emplace(examples.key(), std::move(examples));
      break;
    }
    case FrameType::kPlan:
      records.plans[payload.at("job")] = payload.at("items").get<std::vector<std::string>>();
      break;
    case FrameType::kForget:
      for (const json& name : payload.at("names")) {
        records.results.erase(name.get<std::string>());
      }
      break;
  }
}

bool Ledger::is_settled(const Result& result) const {
  const auto known = records.results.find(result.name);
  if (known == records.results.end() || known->second.status != Status::kValid) {
    return false;
  }
  const auto before = splits_of(known->second);
  const auto now = splits_of(result);
  const bool covers_more = result.status == Status::kValid && now.size() > before.size() &&
                           std::includes(now.begin(), now.end(), before.begin(), before.end());
  return !covers_more;
}

json open_payload(const RunInfo& run) {
  json methods = json::array();
  for (const auto& method : run.methods) {
    methods.push_back(method_json(method));
  }
  json tasks = json::array();
  for (const auto& task : run.tasks) {
    tasks.push_back(task_json(task));
  }
  return {{"kind", run.kind},
          {"plan_sha256", run.plan_sha256},
          {"provenance", run.provenance},
          {"bindings", run.bindings},
          {"methods", methods},
          {"tasks", tasks}};
}

json publish_payload(const Publication& publication) {
  return {{"sequence", publication.sequence}, {"sha256", publication.sha256}};
}

json examples_payload(const ExamplesRecord& examples) {
  return {{"zoo", examples.zoo},
          {"task", examples.task},
          {"split", examples.split},
          {"labels", binary_of(examples.labels)},
          {"groups", binary_of(examples.groups)}};
}

json plan_payload(const std::string& job, const std::vector<std::string>& items) {
  return {{"job", job}, {"items", items}};
}

json forget_payload(const std::vector<std::string>& names) {
  return {{"names", names}};
}

Frames frames_of(const Records& records) {
  Frames frames;
  for (const auto& run : records.runs) {
    frames.emplace_back(FrameType::kOpen, open_payload(run));
  }
  for (const auto& [job, items] : records.plans) {
    frames.emplace_back(FrameType::kPlan, plan_payload(job, items));
  }
  for (const auto& [key, examples] : records.examples) {
    frames.emplace_back(FrameType::kExamples, examples_payload(examples));
  }
  for (const auto& [name, result] : records.results) {
    frames.emplace_back(FrameType::kResult, result);
  }
  return frames;
}

void check_result(const Result& result) {
  check_identifier(result.name, "the name of an item");
  check_metrics(result);
  check_outcomes(result);
  check_predictions(result);
}

}  // namespace fusegrid
