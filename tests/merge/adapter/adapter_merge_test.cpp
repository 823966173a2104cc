#include "merge/adapter/adapter_merge.h"

#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/peft_golden.h"
#include "checkpoint/read_all.h"
#include "comm/collectives.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/method.h"
#include "fusion/sharding.h"
#include "merge/adapter/peft_combination.h"
#include "merge/merge.h"

namespace fusegrid::adapters::adapter_merge_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr auto kRoot = "base_model.model.";

nlohmann::json lora_config(int64_t rank, int64_t alpha, const nlohmann::json& more = {}) {
  nlohmann::json config{{"peft_type", "LORA"},
                        {"r", rank},
                        {"lora_alpha", alpha},
                        {"base_model_name_or_path", "the/base"},
                        {"task_type", "CAUSAL_LM"}};
  config.update(more.is_null() ? nlohmann::json::object() : more);
  return config;
}

// The adapters of make_peft_merges.py.
class PeftAdapters : public testing::Test {
 protected:
  PeftAdapters() {
    const auto full = [](int64_t rank) {
      return std::vector<std::pair<std::string, std::vector<int64_t>>>{
          {"embed.lora_embedding_A", {rank, 6}}, {"embed.lora_embedding_B", {4, rank}},
          {"q.lora_A.weight", {rank, 4}},        {"q.lora_B.weight", {4, rank}},
          {"up.lora_A.weight", {rank, 4}},       {"up.lora_B.weight", {5, rank}}};
    };
    const auto part = [&](int64_t rank, size_t begin, size_t end) {
      auto all = full(rank);
      return decltype(all)(all.begin() + static_cast<ptrdiff_t>(begin),
                           all.begin() + static_cast<ptrdiff_t>(end));
    };
    add("one", peft_adapter(1, full(2)), lora_config(2, 3));
    add("two", peft_adapter(2, full(2)), lora_config(2, 2, {{"use_rslora", true}}));
    add("three", peft_adapter(3, part(2, 2, 4)), lora_config(2, 5));
    add("long", peft_adapter(4, part(3, 2, 6)), lora_config(3, 6));
    const std::vector<std::pair<std::string, std::vector<int64_t>>> turned{{"c_fc.lora_A.weight", {2, 4}},
                                                                           {"c_fc.lora_B.weight", {5, 2}}};
    add("turned-one", peft_adapter(5, turned), lora_config(2, 3, {{"fan_in_fan_out", true}}));
    add("turned-two", peft_adapter(6, turned), lora_config(2, 4, {{"fan_in_fan_out", true}}));
    const std::vector<std::pair<std::string, std::vector<int64_t>>> vectors{{"q.ia3_l", {4, 1}},
                                                                            {"up.ia3_l", {1, 4}}};
    const nlohmann::json ia3{
        {"peft_type", "IA3"}, {"target_modules", {"q", "up"}}, {"feedforward_modules", {"up"}}};
    for (const auto& [name, seed] : {std::pair("ia3-one", 7), std::pair("ia3-two", 8)}) {
      Weights tensors = peft_adapter(seed, vectors);
      for (auto& [key, values] : tensors) {
        values = values / 2 + 1;
      }
      add(name, tensors, ia3);
    }
  }

  void add(const std::string& name, const Weights& tensors, const nlohmann::json& config) {
    write_adapter(folder_ / name, tensors, config);
  }

  AdapterMergeSpec spec(const std::string& call, const std::vector<std::string>& names,
                        const std::string& prefix = "") const {
    AdapterMergeSpec spec;
    auto [method, parameters] = parse_call(call);
    spec.method = {method, parameters};
    for (const std::string& name : names) {
      spec.adapters.push_back({name, folder_ / (prefix + name)});
    }
    spec.out = folder_ / "out";
    spec.options.seed = 3;
    return spec;
  }

  AdapterMergeReport merge(const AdapterMergeSpec& spec) {
    std::filesystem::remove_all(spec.out);
    return merge_adapters(plan_adapter_merge(spec), {{"program", "a test"}});
  }
  std::string refusal(const AdapterMergeSpec& spec) {
    std::filesystem::remove_all(spec.out);
    return message_of<ConfigError>([&] { plan_adapter_merge(spec); });
  }

  // scale * B A of each module of an adapter on disk, [out, in]; whatever base it is on.
  static Weights updates_of(const std::filesystem::path& folder) {
    const AdapterInputs inputs = open_adapters({{"a", folder}}, {});
    Weights updates;
    for (const TensorInfo& info : inputs.base->tensors()) {
      const auto factors =
          as_of_layer(inputs.experts[0]->factors(info.name).value(), inputs.is_turned(info.name));
      updates.emplace(info.name.substr(0, info.name.rfind(".weight")),
                      at::matmul(factors.b.to(at::kDouble), factors.a.to(at::kDouble)) * factors.scale);
    }
    return updates;
  }

  TemporaryFolder folder_;
};

TEST_F(PeftAdapters, AreCombinedAsPeftDoes) {
  const auto golden = peft_golden();
  std::set<std::string> seen;
  for (const auto& one : golden.at("cases")) {
    const auto& options = one.at("options");
    const std::string type = one.at("type");
    std::string call = "peft_" + type + "{weights=";
    for (const double weight : one.at("weights")) {
      call += (call.back() == '=' ? "" : ":") + number_text(weight);
    }
    for (const std::string key : {"density", "majority_sign"}) {
      if (options.contains(key)) {
        call += "," + key + "=" +
                (options[key].is_string() ? options[key].get<std::string>()
                                          : number_text(options[key].get<double>()));
      }
    }
    AdapterMergeSpec merged = spec(call + "}", one.at("adapters"), one.at("turned") ? "turned-" : "");
    if (options.contains("rank")) {
      merged.rule.rank = options.at("rank").get<int64_t>();
    }
    merge(merged);
    const Weights updates = updates_of(merged.out);
    ASSERT_EQ(updates.size(), one.at("updates").size());
    for (const auto& [module, values] : updates) {
      expect_numbers(values, one.at("updates").at(module), 3e-6, call + " " + module);
    }
    seen.insert("peft_" + type);
  }
  for (const std::string& method : peft_methods()) {
    EXPECT_TRUE(seen.contains(method)) << method << " has no golden values";
  }
}

TEST_F(PeftAdapters, OfIa3AreAddedUpAsPeftDoes) {
  const auto golden = peft_golden().at("ia3");
  const auto merged = spec("peft_linear{weights=0.7:0.4}", {"one", "two"}, "ia3-");
  merge(merged);
  const SafetensorsFile file(merged.out / "adapter_model.safetensors");
  for (const std::string module : {"q", "up"}) {
    expect_numbers(file.read(kRoot + module + ".ia3_l"), golden.at("vectors").at(module), 3e-7, module);
  }
  EXPECT_EQ(file.info(std::string(kRoot) + "up.ia3_l").shape, (std::vector<int64_t>{1, 4}));
  const auto config = nlohmann::json::parse(read_text(merged.out / "adapter_config.json"));
  EXPECT_EQ(config.at("peft_type"), "IA3");
  EXPECT_EQ(config.at("feedforward_modules"), nlohmann::json({"up"}));
}

// EMR-Merging's own setting: what training changed of vectors of ones.
TEST_F(PeftAdapters, OfIa3AreMergedByEmrAsVectors) {
  const auto report = merge(spec("emr", {"one", "two"}, "ia3-"));
  ASSERT_EQ(report.adapters.size(), 2U);
  const auto learnt = [&](const std::filesystem::path& folder, const std::string& module) {
    return SafetensorsFile(folder / "adapter_model.safetensors")
               .read(kRoot + module + ".ia3_l")
               .to(at::kDouble)
               .view({-1}) -
           1;
  };
  // by the paper's formulas, over both vectors together
  at::Tensor own[2];
  at::Tensor got[2];
  for (int i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "one" : "two";
    own[i] = at::zeros({8}, at::kDouble);
    got[i] = at::zeros({8}, at::kDouble);
    for (int m = 0; m < 2; ++m) {
      own[i].narrow(0, 4 * m, 4).copy_(learnt(folder_ / ("ia3-" + name), m == 0 ? "q" : "up"));
      got[i].narrow(0, 4 * m, 4).copy_(learnt(folder_ / "out" / name, m == 0 ? "q" : "up"));
    }
  }
  const at::Tensor sign = ((own[0] + own[1]) > 0).to(at::kDouble) * 2 - 1;
  const at::Tensor unified = sign * at::maximum((own[0] * sign).clamp_min(0), (own[1] * sign).clamp_min(0));
  for (int i = 0; i < 2; ++i) {
    const at::Tensor masked = unified * ((own[i] * unified) > 0);
    const at::Tensor expected = masked * (own[i].abs().sum() / masked.abs().sum());
    EXPECT_TRUE(at::allclose(got[i], expected, 0, 1e-6)) << i << got[i] << expected;
  }
}

// The same methods on whole models upon any base, cut afterwards.
TEST_F(PeftAdapters, AreMergedByMethodsAsTheModelsThatTheyMake) {
  const Weights base{{"embed.weight", peft_numbers(1, {6, 4})},
                     {"q.weight", peft_numbers(2, {4, 4})},
                     {"up.weight", peft_numbers(3, {5, 4})}};
  save_hf_folder(folder_ / "base", base, {{"model_type", "test"}});
  for (const std::string call :
       {"task_arithmetic{scale=0.7}", "ties{density=0.5,scale=1}", "simple_average", "knots", "tsv_m",
        "core_space", "dare{drop_rate=0.4}", "iso_c", "breadcrumbs"}) {
    AdapterMergeSpec updates = spec(call, {"one", "two", "long"});
    updates.rule.energy = 1;  // all of it
    merge(updates);
    MergeSpec models;
    models.base = folder_ / "base";
    models.experts = updates.adapters;
    models.methods = {updates.method};
    models.out = folder_ / ("whole-" + updates.method.name);
    models.seed = 3;
    const auto group = local_collectives();
    run_merge(plan_merge(models), *group, {}, [](double) {});
    const HfFolder whole(models.out);
    const Weights got = updates_of(updates.out);
    for (const auto& [module, update] : got) {
      const at::Tensor theirs =
          whole.read(module + ".weight").to(at::kDouble) - base.at(module + ".weight").to(at::kDouble);
      const at::Tensor ours = module == "embed" ? update.t() : update;
      EXPECT_LT((ours - theirs).abs().max().item<double>(), 3e-6) << call << " " << module;
    }
  }
}

TEST_F(PeftAdapters, AreCutToTheNearestOfARank) {
  AdapterMergeSpec exact = spec("peft_cat", {"one", "two", "long"});
  merge(exact);
  const Weights all = updates_of(exact.out);
  AdapterMergeSpec cut = spec("task_arithmetic{scale=1}", {"one", "two", "long"});
  cut.rule.rank = 2;
  cut.alpha = 5;
  const auto report = merge(cut);
  const Weights kept = updates_of(cut.out);
  const auto config = nlohmann::json::parse(read_text(cut.out / "adapter_config.json"));
  EXPECT_EQ(config.at("r"), 2);
  EXPECT_EQ(config.at("lora_alpha"), 5);
  EXPECT_EQ(config.at("task_type"), "CAUSAL_LM");
  EXPECT_EQ(config.at("base_model_name_or_path"), "the/base");
  for (const ExtractedModule& module : report.adapters.at(0).modules) {
    const at::Tensor& whole = all.at(module.name);
    const at::Tensor s = std::get<1>(at::linalg_svd(whole, false));
    const double smallest = s.narrow(0, 2, s.numel() - 2).norm().item<double>();
    EXPECT_NEAR((whole - kept.at(module.name)).norm().item<double>(), smallest, 1e-5) << module.name;
    EXPECT_NEAR(module.error_norm, smallest, 1e-5) << module.name;
    EXPECT_NEAR(module.norm, whole.norm().item<double>(), 1e-5) << module.name;
  }
}

TEST_F(PeftAdapters, GiveTheSameBytesForAnyNumberOfThreads) {
  std::set<std::string> bytes;
  for (const int threads : {1, 2, 5}) {
    for (const std::string call : {"ties{density=0.4}", "peft_ties_svd{density=0.4}"}) {
      AdapterMergeSpec merged = spec(call, {"one", "two", "long"});
      merged.options.threads = threads;
      merge(merged);
      bytes.insert(call + read_text(merged.out / "adapter_model.safetensors") +
                   read_text(merged.out / "fusegrid_adapter.json"));
    }
  }
  EXPECT_EQ(bytes.size(), 2U);
}

TEST_F(PeftAdapters, MakeAFolderForEachWhereAMethodDoes) {
  const auto report = merge(spec("emr", {"one", "two"}));
  ASSERT_EQ(report.adapters.size(), 2U);
  EXPECT_EQ(report.adapters[1].folder, folder_ / "out" / "two");
  EXPECT_EQ(updates_of(folder_ / "out" / "two").size(), 3U);
  const auto record = nlohmann::json::parse(read_text(folder_ / "out" / "two" / "fusegrid_adapter.json"));
  EXPECT_EQ(record.at("method"), "emr");
  EXPECT_EQ(record.at("modules").at("q").at("rank"), 2);
}

TEST_F(PeftAdapters, WithOtherModulesCountAsUnchangedThere) {
  const auto report = merge(spec("task_arithmetic{scale=1}", {"one", "three"}));
  ASSERT_EQ(report.notes.size(), 1U);
  EXPECT_THAT(report.notes[0],
              AllOf(HasSubstr("'three' does not change embed.weight"), HasSubstr("no change")));
  const Weights merged = updates_of(folder_ / "out");
  EXPECT_TRUE(at::allclose(merged.at("up"), updates_of(folder_ / "one").at("up"), 0, 1e-6));
}

TEST_F(PeftAdapters, AreRefusedWhereTheyDoNotFit) {
  EXPECT_THAT(message_of<ConfigError>([&] {
                merge(spec("peft_linear", {"one", "long"}));
              }),
              AllOf(HasSubstr("needs adapters of one rank"), HasSubstr("'one' has rank 2"),
                    HasSubstr("'long' 3"), HasSubstr("peft_cat")));
  EXPECT_THAT(refusal(spec("knots", {"one", "turned-one"})),
              AllOf(HasSubstr("must be of one base"), HasSubstr("c_fc.weight")));
  add("wide", peft_adapter(1, {{"q.lora_A.weight", {2, 7}}, {"q.lora_B.weight", {4, 2}}}), lora_config(2, 2));
  EXPECT_THAT(refusal(spec("knots", {"one", "wide"})),
              AllOf(HasSubstr("'q.weight' is [4, 4] in 'one' and [4, 7] in 'wide'")));
  EXPECT_THAT(refusal(spec("knots", {"one", "ia3-one"})),
              AllOf(HasSubstr("of one kind"), HasSubstr("LORA"), HasSubstr("IA3")));
  AdapterMergeSpec high = spec("knots", {"one", "two"});
  high.rule.rank = 5;
  EXPECT_THAT(refusal(high), AllOf(HasSubstr("is 5 and the largest of them is 4"), HasSubstr("at most")));
  AdapterMergeSpec uncut = spec("peft_linear", {"one", "two"});
  uncut.rule.rank = 2;
  EXPECT_THAT(refusal(uncut), HasSubstr("--rank and --energy have no meaning"));
  AdapterMergeSpec vectors = spec("ties", {"one", "two"}, "ia3-");
  vectors.rule.rank = 2;
  EXPECT_THAT(refusal(vectors), HasSubstr("(IA)^3 adapters have no rank"));
  EXPECT_THAT(refusal(spec("peft_ties", {"one", "two"}, "ia3-")), HasSubstr("by peft_linear alone"));
  AdapterMergeSpec twice = spec("knots", {"one", "two"});
  twice.adapters[1].path = twice.adapters[0].path;
  EXPECT_THAT(refusal(twice), HasSubstr("must be given once"));
}

TEST_F(PeftAdapters, AreRefusedWhereTheyAreOfAKindThatIsNotMerged) {
  const Weights tensors = peft_adapter(1, {{"q.lora_A.weight", {2, 4}}, {"q.lora_B.weight", {4, 2}}});
  const auto refused = [&](const Weights& values, const nlohmann::json& config) {
    add("bad", values, config);
    std::filesystem::remove_all(folder_ / "out");
    try {
      plan_adapter_merge(spec("knots", {"one", "bad"}));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  auto other = lora_config(2, 2);
  other["peft_type"] = "LOHA";
  EXPECT_THAT(refused(tensors, other), AllOf(HasSubstr("must be LORA or IA3, but it is LOHA")));
  EXPECT_THAT(refused(tensors, lora_config(2, 2, {{"use_dora", true}})), HasSubstr("use_dora"));
  EXPECT_THAT(refused(tensors, lora_config(3, 2)), HasSubstr("must have the rank of adapter_config.json, 3"));
  Weights cut = tensors;
  cut.erase("base_model.model.q.lora_B.weight");
  EXPECT_THAT(refused(cut, lora_config(2, 2)), AllOf(HasSubstr("'q' lacks its B"), HasSubstr("cut?")));
  Weights saved = tensors;
  saved.emplace("base_model.model.q.base_layer.bias", peft_numbers(1, {4}));
  EXPECT_THAT(refused(saved, lora_config(2, 2, {{"bias", "lora_only"}})),
              AllOf(HasSubstr("holds tensors whole"), HasSubstr("q.bias"), HasSubstr("--drop-saved")));
  AdapterMergeSpec dropping = spec("knots", {"one", "bad"});
  dropping.reading.drop_saved = true;
  EXPECT_THAT(merge(dropping).notes, testing::Contains(HasSubstr("of 'bad' the result lacks q.bias")));
  std::filesystem::create_directories(folder_ / "whole");
  EXPECT_THAT(refusal(spec("knots", {"one", "whole"})), HasSubstr("is no adapter"));
}

TEST_F(PeftAdapters, WithNaNAreRefused) {
  Weights tensors = peft_adapter(1, {{"q.lora_A.weight", {2, 4}}, {"q.lora_B.weight", {4, 2}}});
  tensors.at("base_model.model.q.lora_A.weight")[0][1] = std::nan("");
  add("nan", tensors, lora_config(2, 2));
  Weights vectors = peft_adapter(7, {{"q.ia3_l", {4, 1}}, {"up.ia3_l", {1, 4}}});
  vectors.at("base_model.model.q.ia3_l")[0] = std::nan("");
  add("ia3-nan", vectors,
      {{"peft_type", "IA3"}, {"target_modules", {"q", "up"}}, {"feedforward_modules", {"up"}}});
  for (const std::string call : {"knots", "task_arithmetic", "peft_cat", "peft_svd", "peft_linear"}) {
    EXPECT_THAT(message_of<DataError>([&] {
                  merge(spec(call, {"one", "nan"}));
                }),
                AllOf(HasSubstr("'q.weight'"), HasSubstr("NaN or infinity")))
        << call;
  }
  EXPECT_THAT(message_of<DataError>([&] {
                merge(spec("task_arithmetic", {"one", "nan"}, "ia3-"));
              }),
              HasSubstr("q.ia3_l"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(PeftAdapters, AreCheckedAgainstTheBaseThatIsGiven) {
  save_hf_folder(folder_ / "base",
                 {{"q.weight", peft_numbers(2, {4, 4})}, {"up.weight", peft_numbers(3, {5, 4})}},
                 {{"model_type", "test"}});
  AdapterMergeSpec fits = spec("knots", {"long", "three"});
  fits.reading.base = folder_ / "base";
  merge(fits);
  AdapterMergeSpec lacks = spec("knots", {"one", "two"});
  lacks.reading.base = folder_ / "base";
  EXPECT_THAT(refusal(lacks),
              AllOf(HasSubstr("must have been trained on its base"), HasSubstr("embed.weight")));
}

TEST(MethodsOnUpdates, AreThoseThatAddTheSameToAnyBase) {
  std::set<std::string> depend;
  for (const std::string& name : method_registry().names()) {
    const MethodCard& card = method_registry().at(name).card;
    if (!can_be_sharded(card) || card.min_experts == 0) {
      continue;
    }
    const auto adapters = static_cast<size_t>(std::clamp<int64_t>(2, card.min_experts, card.max_experts));
    try {
      check_merges_updates({name, {}}, adapters, 0);
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("'" + name + "'"), HasSubstr("adapter extract")));
      depend.insert(name);
    }
  }
  EXPECT_EQ(depend, (std::set<std::string>{"arcee_fusion", "karcher", "magnitude_pruning", "mlerp",
                                           "random_pruning", "slerp"}));
}

}  // namespace
}  // namespace fusegrid::adapters::adapter_merge_test
