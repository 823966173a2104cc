#include "coordinator/job_file.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/fake_methods.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class JobFile : public testing::Test {
 protected:
  static void SetUpTestSuite() { register_fake_methods(); }

  static JobSpec parse(const std::string& text) { return parse_job(text, "job.cfg"); }
  static std::string error_of(const std::string& text) {
    try {
      parse(text);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "(no error)";
  }
  // of a job with this top line and a method
  static std::string error_of_top(const std::string& line) {
    return error_of("zoo = z\n" + line + "\n[fake_average]\n");
  }
  static std::string error_of_parameter(const std::string& line) {
    return error_of("zoo = z\n[fake_trim]\n" + line + "\n");
  }
  static std::vector<std::string> texts(const std::vector<JobValue>& values) {
    std::vector<std::string> texts;
    for (const auto& value : values) {
      texts.push_back(value.text);
    }
    return texts;
  }
};

TEST_F(JobFile, reads_every_key) {
  const JobSpec job = parse(
      "# the question\n"
      "zoo = a b   # two\n"
      "experts = all 3\nexperts = m+f\nseed = 0..2 7\ntask = m f\nshift = clean\nbatch = 64\n"
      "test = chosen\nvalidation = 100\nprecision = tf32\n"
      "max_attempts = 3\nstall_timeout_s = 60\nmemory_limit_gb = 1.5\nthreads = 2\nshards = 3\ndevice = cpu\n"
      "[fake_trim]\nscale = 0.1 0.2\nscale = 0.3\nmerge = mean\n");
  EXPECT_THAT(texts(job.zoos), ElementsAre("a", "b"));
  EXPECT_THAT(texts(job.experts), ElementsAre("all", "3", "m+f"));
  EXPECT_THAT(job.seeds, ElementsAre(0, 1, 2, 7));
  EXPECT_THAT(texts(job.tasks), ElementsAre("m", "f"));
  EXPECT_THAT(texts(job.shifts), ElementsAre("clean"));
  EXPECT_EQ(job.batch, 64);
  EXPECT_TRUE(job.tests_chosen_only);
  EXPECT_EQ(job.validation, 100);
  EXPECT_EQ(job.precision, "tf32");
  EXPECT_EQ(job.max_attempts, 3);
  EXPECT_EQ(job.stall_timeout_s, 60);
  EXPECT_EQ(job.memory_limit_gb, 1.5);
  EXPECT_EQ(job.threads, 2);
  EXPECT_EQ(job.shards, 3);
  EXPECT_EQ(job.device, "cpu");
  ASSERT_EQ(job.methods.size(), 1U);
  EXPECT_EQ(job.methods[0].combinations().size(), 3U);
}

TEST_F(JobFile, has_defaults) {
  const JobSpec job = parse("zoo = z\n[fake_average]\n");
  EXPECT_THAT(texts(job.experts), ElementsAre("all"));
  EXPECT_THAT(job.seeds, ElementsAre(0));
  EXPECT_TRUE(job.tasks.empty());
  EXPECT_THAT(texts(job.shifts), ElementsAre("clean"));
  EXPECT_EQ(job.batch, 256);
  EXPECT_FALSE(job.tests_chosen_only);
  EXPECT_FALSE(job.validation.has_value());
  EXPECT_EQ(job.precision, "fp32");
  EXPECT_EQ(job.shards, 1);
  EXPECT_FALSE(job.device.has_value());
}

TEST_F(JobFile, choices_are_named_where_a_key_has_few) {
  EXPECT_THAT(
      error_of_top("precision = fp16"),
      AllOf(StartsWith("job.cfg:2: "), HasSubstr("must be one of fp32, tf32, bf16, but it is 'fp16'")));
  EXPECT_THAT(error_of_top("test = some"), HasSubstr("'test' must be one of all, chosen, but it is 'some'"));
}

TEST_F(JobFile, an_empty_section_is_the_method_with_its_defaults) {
  const JobSpec job = parse("zoo = z\n[fake_average]\n[fake_trim]\n");
  ASSERT_EQ(job.methods.size(), 2U);
  EXPECT_EQ(job.methods[1].method, "fake_trim");
  EXPECT_THAT(job.methods[1].combinations(), ElementsAre(ParamText{}));
}

TEST_F(JobFile, a_method_may_have_several_grids) {
  const JobSpec job = parse("zoo = z\n[fake_trim]\nscale = 1\n[fake_trim:mean]\nmerge = mean\n");
  ASSERT_EQ(job.methods.size(), 2U);
  EXPECT_EQ(job.methods[1].method, "fake_trim");
  EXPECT_EQ(job.methods[1].section, "fake_trim:mean");
}

TEST_F(JobFile, parameters_form_a_cartesian_product) {
  const JobSpec job = parse("zoo = z\n[fake_trim]\nscale = 1 2\ndensity = 0.1 0.2\n");
  EXPECT_THAT(job.methods[0].combinations(),
              testing::UnorderedElementsAre(ParamText{{"density", "0.1"}, {"scale", "1"}},
                                            ParamText{{"density", "0.1"}, {"scale", "2"}},
                                            ParamText{{"density", "0.2"}, {"scale", "1"}},
                                            ParamText{{"density", "0.2"}, {"scale", "2"}}));
}

TEST_F(JobFile, unknown_keys_are_named_with_line_and_what_is_known) {
  EXPECT_THAT(error_of_top("expert = 3"),
              AllOf(StartsWith("job.cfg:2: "), HasSubstr("no key 'expert'"),
                    HasSubstr("did you mean 'experts'?"), HasSubstr("Known: zoo, experts, seed")));
}

TEST_F(JobFile, unknown_methods_are_named_with_a_hint) {
  EXPECT_THAT(error_of("zoo = z\n\n[fake_trimm]\n"),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("no fusion method 'fake_trimm'"),
                    HasSubstr("did you mean 'fake_trim'?"), HasSubstr("fake_average, ")));
}

TEST_F(JobFile, methods_of_other_tools_are_answered_with_the_name_here) {
  EXPECT_THAT(error_of("zoo = z\n[linear:all]\n"),
              AllOf(StartsWith("job.cfg:2: there is no method 'linear'; "),
                    HasSubstr("mergekit's is called 'weighted_average' here")));
  EXPECT_THAT(error_of("zoo = z\n[Fake-Trim]\n"), HasSubstr("did you mean 'fake_trim'?"));
}

TEST_F(JobFile, unknown_parameters_are_named_with_a_hint) {
  EXPECT_THAT(error_of_parameter("scael = 1"),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("'fake_trim' has no parameter 'scael'"),
                    HasSubstr("did you mean 'scale'?"), HasSubstr("density, scale, merge, weights")));
}

TEST_F(JobFile, values_must_be_readable_and_in_range) {
  EXPECT_THAT(error_of_parameter("scale = 7"),
              AllOf(StartsWith("job.cfg:3: "), HasSubstr("must lie in [0, 2], but it is 7")));
  EXPECT_THAT(error_of_parameter("scale = 0.1 0.3x"), HasSubstr("must be a number, but it is '0.3x'"));
  EXPECT_THAT(error_of_parameter("scale = nan"), HasSubstr("must be a finite number"));
  EXPECT_THAT(error_of_parameter("merge = max"), HasSubstr("must be one of sum, mean, but it is 'max'"));
  EXPECT_THAT(error_of_top("batch = 0"), HasSubstr("'batch' must lie in [1, 65536], but it is 0"));
  EXPECT_THAT(error_of_top("max_attempts = 0"), HasSubstr("'max_attempts' must lie in [1, 100]"));
  EXPECT_THAT(error_of_top("stall_timeout_s = 1.5"), HasSubstr("must be a whole number, but it is '1.5'"));
  EXPECT_THAT(error_of_top("memory_limit_gb = 0"), HasSubstr("'memory_limit_gb' must be above 0"));
  EXPECT_THAT(error_of_top("shards = 0"), HasSubstr("'shards' must lie in [1, 1024], but it is 0"));
  EXPECT_THAT(error_of_top("threads = -1"), HasSubstr("'threads' must lie in [1, 1024], but it is -1"));
  EXPECT_THAT(error_of_top("device = tpu"), HasSubstr("one of auto, cpu, cuda, but it is 'tpu'"));
  EXPECT_THAT(error_of_top("seed = 2..0"),
              HasSubstr("the range of seeds '2..0' must be written FIRST..LAST"));
  EXPECT_THAT(error_of_top("seed = -1"), HasSubstr("'seed' must lie in [0, "));
}

TEST_F(JobFile, the_largest_seed_ends_a_range) {
  const std::string text = "9223372036854775807";
  const auto seeds = [](const std::string& values) {
    return parse_job("zoo = z\nseed = " + values + "\n[fake_average]\n", "job.cfg").seeds;
  };
  EXPECT_EQ(seeds(text), std::vector<int64_t>{INT64_MAX});
  EXPECT_EQ(seeds("9223372036854775806.." + text), (std::vector<int64_t>{INT64_MAX - 1, INT64_MAX}));
}

TEST_F(JobFile, unknown_shifts_are_refused) {
  EXPECT_THAT(
      error_of_top("shift = mist-3"),
      AllOf(StartsWith("job.cfg:2: "), HasSubstr("a shift must be clean, all_labels or <name>-<severity>")));
}

TEST_F(JobFile, duplicates_are_refused_with_both_lines) {
  EXPECT_THAT(error_of_top("zoo = z"), HasSubstr("'zoo = z' is already in line 1"));
  EXPECT_THAT(error_of_top("seed = 0..2 1"), HasSubstr("seed 1 is given twice"));
  EXPECT_THAT(error_of_top("batch = 1\nbatch = 2"), HasSubstr("'batch' takes a single value"));
  EXPECT_THAT(error_of_top("batch = 1 2"), HasSubstr("'batch' takes a single value"));
  EXPECT_THAT(error_of_parameter("scale = 0.2\nscale = 0.20"),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("value '0.20' of 'scale' is already in line 3")));
  EXPECT_THAT(error_of("zoo = z\n[fake_trim]\n[fake_average]\n[fake_trim]\n"),
              AllOf(StartsWith("job.cfg:4: "), HasSubstr("[fake_trim] is already in line 2"),
                    HasSubstr("[fake_trim:another]")));
}

TEST_F(JobFile, labels_are_names) {
  for (const auto* label : {"", " mean", "a b", "a/b", "../a", "a,b", "a{b"}) {
    EXPECT_THAT(error_of("zoo = z\n[fake_trim:" + std::string(label) + "]\n"),
                AllOf(StartsWith("job.cfg:2: the label behind ':' in [fake_trim:"),
                      HasSubstr("choose another name")));
  }
}

TEST_F(JobFile, long_ranges_of_seeds_are_refused_with_their_number) {
  EXPECT_THAT(error_of_top("seed = 0..999999999"),
              HasSubstr("'0..999999999' must hold at most 1000 seeds, but it holds 1000000000"));
}

TEST_F(JobFile, broken_lines_are_refused) {
  EXPECT_THAT(error_of_top("experts"), HasSubstr("'experts' is neither 'key = value' nor '[method]'"));
  EXPECT_THAT(error_of("zoo = z\n[fake_trim\n"), HasSubstr("must end with ']'"));
  EXPECT_THAT(error_of_parameter("scale ="), HasSubstr("'scale' has no value"));
}

TEST_F(JobFile, needs_a_zoo_and_a_method) {
  EXPECT_THAT(error_of("[fake_average]\n"), HasSubstr("job.cfg: a job needs a line 'zoo = NAME'"));
  EXPECT_THAT(error_of("zoo = z\n"),
              HasSubstr("at least one [method] section; known methods: fake_adapt, fake_average"));
  EXPECT_THAT(error_of(""), HasSubstr("'zoo = NAME'"));
}

TEST_F(JobFile, all_tasks_stand_alone) {
  EXPECT_THAT(error_of_top("task = all m"), HasSubstr("'task = all' stands alone"));
}

TEST_F(JobFile, a_missing_file_is_a_config_error) {
  EXPECT_THAT([] { read_job_file("no/such.cfg"); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("there is no job file 'no/such.cfg'")));
}

TEST_F(JobFile, is_read_from_disk) {
  const auto file = std::filesystem::temp_directory_path() / "fusegrid_job_file_test.cfg";
  std::ofstream(file) << "zoo = z\r\n[fake_trim]\r\nscale = 1 \r\n";
  const JobSpec job = read_job_file(file);
  std::filesystem::remove(file);
  EXPECT_EQ(job.methods[0].values.at("scale")[0].text, "1");
  EXPECT_EQ(job.where(2), file.string() + ":2: ");
}

}  // namespace
}  // namespace fusegrid
