#include "store/task_pack.h"

#include <functional>
#include <limits>

#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"
#include "support/stored_file.h"

namespace fusegrid::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kHeight = 4;
constexpr int64_t kWidth = 5;

template <typename T>
std::vector<T> values_in(const at::Tensor& tensor) {
  const auto* begin = tensor.const_data_ptr<T>();
  return {begin, begin + tensor.numel()};
}

std::vector<std::vector<int32_t>> rows_in(const TokenRows& rows) {
  std::vector<std::vector<int32_t>> all;
  for (int64_t i = 0; i < rows.size(); ++i) {
    const auto row = rows.row(i);
    all.emplace_back(row.begin(), row.end());
  }
  return all;
}

// A task whose three splits are alike: three examples.
StoredGroup task_of(const std::string& kind, const std::string& attributes, const StoredGroup& split) {
  StoredGroup task = stored_task(kind, attributes);
  for (const auto* name : {"train", "val", "test"}) {
    task.groups[name] = split;
  }
  return task;
}

StoredGroup letters(int64_t channels = 1) {
  StoredGroup split = stored_split(3);
  split.arrays["groups"] = stored<uint32_t>({5, 5, 4'000'000'000});
  split.arrays["images"] = stored_images({3, channels, kHeight, kWidth});
  split.arrays["labels"] = stored<uint16_t>({0, 1, 2});
  return task_of("classify", R"({"classes": ["a", "\u00e9", "c"]})", split);
}

StoredGroup words() {
  StoredGroup split = stored_split(3);
  split.add_rows("tokens", {{2, 3, 4}, {2}, {3, 3}});
  split.arrays["labels"] = stored<uint16_t>({1, 0, 1});
  return task_of("classify", R"({"classes": ["no", "yes"], "domain": "toy"})", split);
}

StoredGroup translation() {
  StoredGroup split = stored_split(3);
  split.add_rows("tokens", {{2, 3, 4}, {2}, {3, 3}});
  split.add_rows("answers", {{3, 1}, {4, 3, 1}, {2, 1}});
  return task_of("generate", R"({"answer_start": 0, "answer_end": 1, "longest_answer": 3})", split);
}

StoredGroup text() {
  StoredGroup split = stored_split(2);
  split.add_rows("tokens", {{2, 3, 4, 3}, {2}});
  return task_of("language_model", "{}", split);
}

StoredGroup similarity() {
  StoredGroup split = stored_split(2);
  split.add_rows("tokens", {{2, 3}, {2}});
  split.arrays["values"] = stored<float>({0.5F, -1});
  return task_of("regress", "{}", split);
}

StoredGroup quiz() {
  StoredGroup split = stored_split(2);
  split.add_rows("tokens", {{2, 3, 4}, {2}});
  split.add_rows("choices", {{3}, {4, 3}, {3, 4, 1}, {4, 4, 4, 1}, {2, 3}});
  split.arrays["choices_rows"] = stored<uint32_t>({0, 2, 5});
  split.arrays["labels"] = stored<uint16_t>({1, 2});
  return task_of("multiple_choice", "{}", split);
}

StoredGroup pairs() {
  StoredGroup split = stored_split(2);
  split.arrays["images"] = stored_images({2, 3, kHeight, kWidth});
  split.add_rows("tokens", {{2, 3, 4}, {2}});
  return task_of("retrieve", "{}", split);
}

// One task of each kind.
StoredGroup whole_pack() {
  StoredGroup pack = stored_pack({{"letters", letters()},
                                  {"quiz", quiz()},
                                  {"similarity", similarity()},
                                  {"text", text()},
                                  {"translation", translation()},
                                  {"words", words()}});
  pack.groups["tokens"] = stored_tokens();
  return pack;
}

class TaskPackFile : public testing::Test {
 protected:
  TaskPack open(const StoredGroup& pack) {
    pack.write(path_);
    return TaskPack(path_);
  }
  // The message of the error from opening the pack after `change`, or else from reading the train split of `task`.
  std::string error(const std::string& task, const std::function<void(StoredGroup& pack)>& change) {
    StoredGroup pack = whole_pack();
    change(pack);
    pack.write(path_);
    return error_of<DataError>([&] { TaskPack(path_).read(task, "train"); });
  }
  // The same with a change of one task, or of its train split.
  std::string task_error(const std::string& task, const std::function<void(StoredGroup& task)>& change) {
    return error(task, [&](StoredGroup& pack) { change(pack.groups["tasks"].groups[task]); });
  }
  std::string split_error(const std::string& task, const std::function<void(StoredGroup& split)>& change) {
    return task_error(task, [&](StoredGroup& group) { change(group.groups["train"]); });
  }
  std::string attributes_error(const std::string& task, const std::string& attributes) {
    return task_error(task,
                      [&](StoredGroup& group) { group.arrays["attributes"] = stored_bytes(attributes); });
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "pack.h5";
};

TEST_F(TaskPackFile, TellsWhatItsTasksAre) {
  const TaskPack pack = open(whole_pack());
  EXPECT_EQ(pack.path(), path_);
  EXPECT_EQ(pack.suite(), "tiny");
  EXPECT_EQ(pack.sha256(), sha256_of_file(path_));
  ASSERT_EQ(pack.tasks().size(), 6U);
  EXPECT_EQ(pack.tasks()[0].name, "letters");
  EXPECT_EQ(pack.tasks()[5].name, "words");

  const TaskInfo& images = pack.task("letters");
  EXPECT_EQ(images.kind, "classify");
  EXPECT_EQ(images.title, "the title");
  EXPECT_EQ(images.split_rule, "the split_rule");
  EXPECT_THAT(images.class_names, ElementsAre("a", "\u00e9", "c"));
  EXPECT_EQ(images.image_height, kHeight);
  EXPECT_EQ(images.image_width, kWidth);
  EXPECT_EQ(images.longest_row, 0);
  EXPECT_EQ(images.examples.at("val"), 3);

  const TaskInfo& tokens = pack.task("words");
  EXPECT_EQ(tokens.attributes.at("domain"), "toy");
  EXPECT_EQ(tokens.image_height, 0);
  EXPECT_EQ(tokens.longest_row, 3);
  EXPECT_EQ(pack.task("translation").attributes.at("longest_answer"), 3);
  EXPECT_TRUE(pack.task("text").class_names.empty());
  EXPECT_EQ(pack.task("text").longest_with_choice, 0);
  EXPECT_EQ(pack.task("quiz").longest_row, 3);
  EXPECT_EQ(pack.task("quiz").longest_with_choice, 5) << "a prompt and its own choices";
}

TEST_F(TaskPackFile, RepeatsGrayImagesAndReadsColourImagesAsTheyAre) {
  const Split gray = open(stored_pack({{"letters", letters()}})).read("letters", "train");
  ASSERT_EQ(gray.images.sizes(), (std::vector<int64_t>{3, 3, kHeight, kWidth}));
  ASSERT_TRUE(gray.images.is_contiguous());
  const auto* pixels = gray.images.const_data_ptr<uint8_t>();
  for (int64_t channel = 0; channel < 3; ++channel) {
    EXPECT_EQ(pixels[60 + channel * 20 + 3], 23);  // example 1, pixel 3 of its only channel
  }
  EXPECT_THAT(values_in<int64_t>(gray.labels), ElementsAre(0, 1, 2));
  EXPECT_THAT(values_in<int64_t>(gray.groups), ElementsAre(5, 5, 4'000'000'000));
  EXPECT_FALSE(gray.tokens.defined());

  const Split colour = open(stored_pack({{"letters", letters(3)}})).read("letters", "train");
  EXPECT_EQ(colour.images.const_data_ptr<uint8_t>()[60 + 20 + 3], 83);
}

TEST_F(TaskPackFile, ReadsInputsAndTargetsOfEveryKind) {
  const TaskPack pack = open(whole_pack());
  using Rows = std::vector<std::vector<int32_t>>;

  const Split classify = pack.read("words", "val");
  EXPECT_EQ(rows_in(classify.tokens), (Rows{{2, 3, 4}, {2}, {3, 3}}));
  EXPECT_THAT(values_in<int64_t>(classify.labels), ElementsAre(1, 0, 1));
  EXPECT_FALSE(classify.images.defined() || classify.values.defined() || classify.answers.defined());

  const Split generate = pack.read("translation", "test");
  EXPECT_EQ(rows_in(generate.answers), (Rows{{3, 1}, {4, 3, 1}, {2, 1}}));
  EXPECT_FALSE(generate.labels.defined());

  const Split model = pack.read("text", "train");
  EXPECT_EQ(rows_in(model.tokens), (Rows{{2, 3, 4, 3}, {2}}));
  EXPECT_FALSE(model.labels.defined() || model.values.defined() || model.answers.defined());

  const Split choose = pack.read("quiz", "val");
  EXPECT_EQ(rows_in(choose.choices.rows), (Rows{{3}, {4, 3}, {3, 4, 1}, {4, 4, 4, 1}, {2, 3}}));
  EXPECT_THAT(values_in<int64_t>(choose.choices.offsets), ElementsAre(0, 2, 5));
  EXPECT_THAT(values_in<int64_t>(choose.labels), ElementsAre(1, 2));
  EXPECT_FALSE(model.choices.defined());

  const Split regress = pack.read("similarity", "train");
  EXPECT_THAT(values_in<float>(regress.values), ElementsAre(0.5F, -1));
}

TEST_F(TaskPackFile, ReadsARangeAndMarksAlone) {
  const TaskPack pack = open(whole_pack());
  using Rows = std::vector<std::vector<int32_t>>;

  const Split words = pack.read("words", "train", 1, 2);
  EXPECT_EQ(rows_in(words.tokens), (Rows{{2}, {3, 3}}));
  EXPECT_THAT(values_in<int64_t>(words.tokens.offsets), ElementsAre(0, 1, 3));
  EXPECT_THAT(values_in<int64_t>(words.labels), ElementsAre(0, 1));

  const Split choices = pack.read("quiz", "train", 1, 1);
  EXPECT_EQ(rows_in(choices.tokens), (Rows{{2}}));
  EXPECT_EQ(rows_in(choices.choices.rows), (Rows{{3, 4, 1}, {4, 4, 4, 1}, {2, 3}}));
  EXPECT_THAT(values_in<int64_t>(choices.choices.offsets), ElementsAre(0, 3));

  const Split image = pack.read("letters", "train", 2, 1);
  EXPECT_EQ(image.images.sizes(), (std::vector<int64_t>{1, 3, kHeight, kWidth}));
  EXPECT_EQ(image.images.const_data_ptr<uint8_t>()[3], 43);
  EXPECT_THAT(values_in<int64_t>(image.groups), ElementsAre(4'000'000'000));

  EXPECT_EQ(pack.read("words", "train", 3, 0).tokens.size(), 0);

  const Split marks = pack.read_marks("translation", "train");
  EXPECT_FALSE(marks.tokens.defined());
  EXPECT_EQ(marks.answers.size(), 3);
  EXPECT_EQ(marks.groups.size(0), 3);
  EXPECT_FALSE(pack.read_marks("letters", "train").images.defined());
}

TEST_F(TaskPackFile, HasTheTokenTableOfItsTokens) {
  const TaskPack pack = open(whole_pack());
  const TokenTable* table = pack.tokens();
  ASSERT_NE(table, nullptr);
  EXPECT_THAT(table->entries, ElementsAre("<pad>", "</s>", " a", "b", "\u00e9"));
  EXPECT_THAT(table->special, ElementsAre(0, 1));
  EXPECT_EQ(table->pad, 0);
  EXPECT_FALSE(table->mask.has_value());
  EXPECT_FALSE(table->separator.has_value());
  EXPECT_EQ(table->tokenizer, "{}");
  EXPECT_EQ(table->text(pack.read("words", "train").tokens.row(0)), "ab\u00e9");
}

TEST_F(TaskPackFile, MayHaveAMaskASeparatorOrNoTokensAtAll) {
  StoredGroup masked = whole_pack();
  masked.groups["tokens"].attributes["mask"] = int64_t{4};
  masked.groups["tokens"].attributes["separator"] = int64_t{1};
  EXPECT_EQ(open(masked).tokens()->mask, 4);
  EXPECT_EQ(open(masked).tokens()->separator, 1);
  EXPECT_EQ(open(stored_pack({{"letters", letters()}})).tokens(), nullptr);
}

TEST_F(TaskPackFile, IdsOfLargeVocabulariesHave32Bits) {
  constexpr uint32_t kEntries = 65'537;
  StoredGroup pack = stored_pack({{"words", words()}});
  pack.groups["tokens"] = stored_tokens();
  std::vector<uint32_t> offsets(kEntries + 1);
  for (uint32_t i = 0; i <= kEntries; ++i) {
    offsets[i] = i;
  }
  pack.groups["tokens"].arrays["bytes"] = stored_bytes(std::string(kEntries, 'x'));
  pack.groups["tokens"].arrays["bytes_offsets"] = stored(offsets);
  EXPECT_THAT(error_of<DataError>([&] { open(pack).read("words", "train"); }),
              HasSubstr("train/tokens: its elements must be unsigned integers of 32 bits"));

  pack.groups["tasks"].groups["words"].groups["train"].add_rows<uint32_t>("tokens", {{65'536, 2}, {3}, {4}});
  EXPECT_THAT(rows_in(open(pack).read("words", "train").tokens)[0], ElementsAre(65'536, 2));
}

TEST_F(TaskPackFile, RefusesWhatIsNoPackOfThisVersion) {
  const auto message = [&](int64_t version) {
    return error("words", [&](StoredGroup& pack) { pack.attributes["version"] = version; });
  };
  EXPECT_THAT(
      message(1),
      AllOf(HasSubstr("reads version 2"), HasSubstr("has version 1"),
            HasSubstr(
                "make it anew with tools/data_python and tools/make_task_pack.py (images), make_text_pack.py "
                "(texts), make_seq2seq_pack.py (text to text) or make_grid_pack.py (languages)")));
  EXPECT_THAT(message(3),
              AllOf(HasSubstr("has version 3"), HasSubstr("use the program that it was made for")));
  EXPECT_THAT(error("words", [](StoredGroup& pack) { pack.attributes["format"] = "something"; }),
              HasSubstr("'fusegrid-task-pack', but it is 'something'"));
  EXPECT_THAT(error("words", [](StoredGroup& pack) { pack.groups["tasks"].groups.clear(); }),
              HasSubstr("at least one task"));
  EXPECT_THAT(task_error("words", [](StoredGroup& task) { task.attributes.erase("licence"); }),
              HasSubstr("'licence' is missing"));
  EXPECT_THROW(TaskPack(folder_.path() / "none.h5"), IoError);
}

TEST_F(TaskPackFile, RefusesKindsThatItDoesNotKnow) {
  EXPECT_THAT(task_error("words", [](StoredGroup& task) { task.attributes["kind"] = "paint"; }),
              HasSubstr("kind must be one of classify, depth, generate, language_model, multiple_choice, "
                        "normals, regress, retrieve, sample, segment, but it is 'paint'"));
}

TEST_F(TaskPackFile, RefusesArraysThatTheKindHasNotAndThoseThatAreMissing) {
  const std::string rule =
      "a split of the kind classify has the arrays images or tokens or images with tokens, labels and groups "
      "(tokens, answers and choices with their offsets, choices with their rows) and no other, but here are ";
  EXPECT_THAT(split_error("words", [](StoredGroup& split) { split.arrays.erase("labels"); }),
              HasSubstr("words/train: " + rule + "groups, tokens, tokens_offsets"));
  EXPECT_THAT(split_error("words", [](StoredGroup& split) { split.arrays.erase("tokens_offsets"); }),
              HasSubstr(rule + "groups, labels, tokens"));
  EXPECT_THAT(split_error("words", [](StoredGroup& split) { split.arrays["values"] = stored<float>({1}); }),
              HasSubstr(rule + "groups, labels, tokens, tokens_offsets, values"));
  EXPECT_THAT(
      split_error("words",
                  [](StoredGroup& split) {
                    split.arrays["images"] = stored_images({3, 1, 4, 4});
                  }),
      HasSubstr("words/val: inputs must be alike in all splits of a task, but they are tokens here and "
                "images [1, 4, 4] with tokens in train"));
  EXPECT_THAT(split_error("letters", [](StoredGroup& split) { split.arrays.erase("images"); }),
              HasSubstr(rule + "groups, labels"));
  EXPECT_THAT(
      split_error("letters",
                  [](StoredGroup& split) {
                    split.arrays.erase("images");
                    split.add_rows("tokens", {{2}, {2}, {2}});
                  }),
      HasSubstr(
          "letters/val: inputs must be alike in all splits of a task, but they are images [1, 4, 5] here "
          "and tokens in train"));
  EXPECT_THAT(task_error("words", [](StoredGroup& task) { task.groups.erase("val"); }),
              HasSubstr("the splits train, val and test, and no more, but here are attributes, test, train"));
  EXPECT_THAT(error("words", [](StoredGroup& pack) { pack.groups.erase("tokens"); }),
              HasSubstr("the pack must have a group 'tokens'"));
}

// Both parts of a pair are inputs.
TEST_F(TaskPackFile, PairsHaveImagesAndTokens) {
  StoredGroup with_pairs = whole_pack();
  with_pairs.groups["tasks"].groups["pairs"] = pairs();
  {
    const TaskPack pack = open(with_pairs);
    const TaskInfo& info = pack.task("pairs");
    EXPECT_EQ(info.image_height, kHeight);
    EXPECT_EQ(info.image_width, kWidth);
    EXPECT_EQ(info.longest_row, 3);
    const Split split = pack.read("pairs", "val");
    EXPECT_EQ(split.images.sizes().vec(), (std::vector<int64_t>{2, 3, kHeight, kWidth}));
    EXPECT_EQ(rows_in(split.tokens), (std::vector<std::vector<int32_t>>{{2, 3, 4}, {2}}));
    EXPECT_FALSE(split.labels.defined());
    EXPECT_TRUE(info.pairs && split.pairs);
    EXPECT_FALSE(pack.read("letters", "val").tokens.defined());
  }
  for (const std::string missing : {"images", "tokens", "tokens_offsets"}) {
    StoredGroup without = with_pairs;
    without.groups["tasks"].groups["pairs"].groups["test"].arrays.erase(missing);
    EXPECT_THAT(error_of<DataError>([&] { open(without); }),
                HasSubstr("a split of the kind retrieve has the arrays images with tokens and groups"))
        << missing;
  }
  with_pairs.groups["tasks"].groups["pairs"].groups["train"].add_rows("tokens", {{2, 3, 4}, {5}});
  with_pairs.write(path_);
  EXPECT_THAT(error_of<DataError>([&] { TaskPack(path_).read("pairs", "train"); }),
              HasSubstr("ids must be less than the size of the vocabulary"));
}

// A picture with a question, or with the beginning of a text, is one input.
TEST_F(TaskPackFile, QuestionsAndPromptsMayHaveAPicture) {
  StoredGroup pictured = whole_pack();
  for (const std::string name : {"similarity", "translation", "words"}) {
    for (auto& [split, arrays] : pictured.groups["tasks"].groups[name].groups) {
      arrays.arrays["images"] = stored_images({name == "similarity" ? 2 : 3, 3, kHeight, kWidth});
    }
  }
  const TaskPack pack = open(pictured);
  for (const std::string name : {"similarity", "translation", "words"}) {
    const TaskInfo& info = pack.task(name);
    EXPECT_EQ(info.image_width, kWidth) << name;
    EXPECT_EQ(info.longest_row, name == "similarity" ? 2 : 3) << name;
    const Split split = pack.read(name, "test");
    EXPECT_FALSE(info.pairs || split.pairs) << name;
    EXPECT_EQ(split.images.size(0), split.tokens.size()) << name;
  }
}

TEST_F(TaskPackFile, PromptsAreRowsOfIdsForEachClass) {
  const auto message = [&](const std::string& prompts) {
    return attributes_error("words", R"({"classes": ["a", "b"], "prompts": )" + prompts + "}");
  };
  StoredGroup sound = whole_pack();
  sound.groups["tasks"].groups["words"].arrays["attributes"] =
      stored_bytes(R"({"classes": ["a", "b"], "prompts": [[[2, 3], [4]], [[3], [2]]]})");
  EXPECT_EQ(open(sound).task("words").attributes.at("prompts").size(), 2U);
  EXPECT_THAT(message("7"), HasSubstr("'prompts' must be a list of rows of ids for each class"));
  EXPECT_THAT(message("[[[2]]]"), HasSubstr("'prompts' must be a list of rows of ids for each class"));
  for (const std::string wrong : {"[]", "[[]]", "[[5]]", "[[-1]]", "[[2.5]]", "[2]", "[[2], [3]]"}) {
    EXPECT_THAT(message("[[[2]], " + wrong + "]"), HasSubstr("each class must have as many 'prompts'"))
        << wrong;
  }
}

TEST_F(TaskPackFile, RefusesNumbersOfExamplesThatDisagree) {
  for (const int64_t examples : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    EXPECT_THAT(split_error("words", [&](StoredGroup& split) { split.attributes["examples"] = examples; }),
                HasSubstr("at least one example and less than 2^32, but the attribute 'examples' says " +
                          std::to_string(examples)));
  }
  EXPECT_THAT(split_error("words",
                          [](StoredGroup& split) {
                            split.arrays["labels"] = stored<uint16_t>({0, 1});
                          }),
              HasSubstr("labels: there must be one entry for each of the 3 examples, but the shape is [2]"));
  EXPECT_THAT(split_error("words",
                          [](StoredGroup& split) {
                            split.arrays["groups"] = stored<uint32_t>({0, 1});
                          }),
              HasSubstr("groups: there must be one entry for each of the 3 examples"));
  EXPECT_THAT(
      split_error("similarity", [](StoredGroup& split) { split.arrays["values"] = stored<float>({0}); }),
      HasSubstr("values: there must be one entry for each of the 2 examples"));
  EXPECT_THAT(
      split_error("words",
                  [](StoredGroup& split) {
                    split.add_rows("tokens", {{2}, {2}});
                  }),
      HasSubstr("tokens_offsets: there must be one offset more than the 3 examples, but the shape is [3]"));
}

TEST_F(TaskPackFile, RefusesImagesOfOtherShapes) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 2, 4, 5}, {2, 1, 4, 5}, {3, 1, 4097, 1}, {3, 1, 1, 4097}, {3, 20}}) {
    EXPECT_THAT(
        split_error("letters", [&](StoredGroup& split) { split.arrays["images"] = stored_images(shape); }),
        HasSubstr("images must have the shape [3, 1 or 3, height, width] with 1 to 4096 pixels a side"));
  }
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{3, 3, 4, 5}, {3, 1, 5, 5}, {3, 1, 4, 4}}) {
    EXPECT_THAT(
        split_error("letters", [&](StoredGroup& split) { split.arrays["images"] = stored_images(shape); }),
        HasSubstr("inputs must be alike in all splits"));
  }
}

TEST_F(TaskPackFile, RefusesRaggedRowsThatAreWrong) {
  const auto message = [&](const std::vector<uint32_t>& offsets) {
    return split_error("words",
                       [&](StoredGroup& split) { split.arrays["tokens_offsets"] = stored(offsets); });
  };
  EXPECT_THAT(message({1, 3, 4, 6}),
              HasSubstr("tokens_offsets: offsets must begin with 0, but they begin with 1"));
  EXPECT_THAT(message({0, 4, 3, 6}), HasSubstr("offsets must rise, but 4 is followed by 3"));
  EXPECT_THAT(message({0, 3, 4, 5}), HasSubstr("end with the number of values, 6, but they end with 5"));
  EXPECT_THAT(message({0, 3, 4, 4'000'000'000}), HasSubstr("6, but they end with 4000000000"));
  EXPECT_THAT(message({0, 3, 3, 6}), HasSubstr("row 1 has none: it is an empty text; leave the example out"));
}

TEST_F(TaskPackFile, RefusesIdsThatAreNoText) {
  const auto message = [&](const std::string& task, const std::string& array, uint16_t id) {
    return split_error(task, [&](StoredGroup& split) { split.add_rows(array, {{2, id}, {2}, {2}}); });
  };
  EXPECT_THAT(message("words", "tokens", 5),
              HasSubstr("train/tokens: ids must be less than the size of the vocabulary, 5, but one is 5"));
  EXPECT_THAT(message("words", "tokens", 0), HasSubstr("the id of padding, 0, must not be stored"));
  EXPECT_THAT(message("translation", "answers", 0), HasSubstr("train/answers: the id of padding, 0"));
}

TEST_F(TaskPackFile, RefusesTargetsOutOfRange) {
  EXPECT_THAT(split_error("words",
                          [](StoredGroup& split) {
                            split.arrays["labels"] = stored<uint16_t>({0, 2, 1});
                          }),
              HasSubstr("labels must be less than the number of classes, 2, but one is 2"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(split_error("similarity",
                          [&](StoredGroup& split) {
                            split.arrays["values"] = stored<float>({0, nan});
                          }),
              HasSubstr("values must be finite, but that of example 1 is nan"));
}

TEST_F(TaskPackFile, RefusesAnswersThatDoNotEnd) {
  const auto message = [&](const std::vector<uint16_t>& answer) {
    return split_error("translation", [&](StoredGroup& split) {
      split.add_rows("answers", {{3, 1}, answer, {3, 1}});
    });
  };
  const std::string rule = "the last token of an answer and no other must be 'answer_end', 1, but in row 1";
  EXPECT_THAT(message({3, 4}), HasSubstr(rule));
  EXPECT_THAT(message({1, 3, 1}), HasSubstr(rule));
  EXPECT_THAT(message({1}),
              HasSubstr("an answer must have a token before its end, but row 1 of those read has none"));
  EXPECT_THAT(message({3, 3, 3, 1}), HasSubstr("at most 'longest_answer' tokens, 3, but one has 4"));
}

TEST_F(TaskPackFile, RefusesChoicesThatAreWrong) {
  const auto message = [&](const std::vector<std::vector<uint16_t>>& choices,
                           const std::vector<uint32_t>& rows, const std::vector<uint16_t>& labels) {
    return split_error("quiz", [&](StoredGroup& split) {
      split.add_rows("choices", choices);
      split.arrays["choices_rows"] = stored(rows);
      split.arrays["labels"] = stored(labels);
    });
  };
  EXPECT_THAT(message({{3}, {}, {4}, {3}}, {0, 2, 4}, {0, 0}),
              HasSubstr("choices_offsets: every row must have a token, but row 1 has none"));
  EXPECT_THAT(message({{3}, {4}, {3}, {4, 1}, {1}}, {0, 2, 5}, {0, 0}),
              HasSubstr("choices: a choice must have a text, but row 4 of those read has none"));
  EXPECT_THAT(message({{3}, {4}, {3}}, {0, 2, 3}, {0, 0}),
              HasSubstr("choices_rows: an example must have two choices or more, but example 1 has 1"));
  EXPECT_THAT(
      message({{3}, {4}, {3}, {4}}, {0, 2, 4}, {0, 2}),
      HasSubstr("labels must be less than the number of the example's choices, 2, but that of example 1 of "
                "those read is 2"));
  EXPECT_THAT(
      message({{3}, {4}, {3}, {4}}, {0, 2, 5}, {0, 0}),
      HasSubstr("choices_offsets: there must be one offset more than the 5 choices, but the shape is [5]"));
  EXPECT_THAT(
      message({{3}, {4}, {3}, {4}}, {0, 4}, {0, 0}),
      HasSubstr("choices_rows: there must be one offset more than the 2 examples, but the shape is [2]"));
  EXPECT_THAT(message({{3}, {4}, {3}, {4}}, {2, 2, 4}, {0, 0}),
              HasSubstr("choices_rows: offsets must begin with 0, but they begin with 2"));
  EXPECT_THAT(message({{3}, {4}, {3}, {0}}, {0, 2, 4}, {0, 0}), HasSubstr("the id of padding, 0"));
  EXPECT_THAT(
      split_error("quiz", [](StoredGroup& split) { split.arrays.erase("choices_rows"); }),
      HasSubstr("a split of the kind multiple_choice has the arrays tokens, choices, labels and groups"));
}

TEST_F(TaskPackFile, RefusesAttributesThatAreNotThoseOfTheKind) {
  EXPECT_THAT(attributes_error("words", "{"),
              HasSubstr("attributes: must be one JSON object in UTF-8, but it cannot"));
  EXPECT_THAT(attributes_error("words", "{\"classes\": [\"\xff\", \"b\"]}"),
              HasSubstr("in UTF-8, but it cannot"));
  EXPECT_THAT(attributes_error("words", "{\"classes\": 1e999}"), HasSubstr("but it cannot be read"));
  EXPECT_THAT(attributes_error("words", "[1]"), HasSubstr("one JSON object, but it is of the type array"));
  EXPECT_THAT(attributes_error("words", "{}"), HasSubstr("kind classify has 'classes', but it is missing"));
  EXPECT_THAT(attributes_error("words", R"({"classes": 2})"),
              HasSubstr("2 to 65535 names, but it is of the type number"));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a"]})"),
              HasSubstr("2 to 65535 names, but it has 1"));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a", "b", "a"]})"),
              HasSubstr("names of classes must be different texts and not empty, but number 2 is \"a\""));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a", ""]})"), HasSubstr("number 1 is \"\""));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a", 7]})"), HasSubstr("number 1 is 7"));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a", "b"], "domain": 3})"),
              HasSubstr("'domain' must be a text"));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a", "b"], "metric": ["mcc"]})"),
              HasSubstr("'metric' must be a text, but it is [\"mcc\"]"));
  const auto message = [&](const std::string& start, const std::string& longest) {
    return attributes_error("translation", R"({"answer_end": 1, "answer_start": )" + start +
                                               R"(, "longest_answer": )" + longest + "}");
  };
  EXPECT_THAT(message("5", "3"), HasSubstr("'answer_start' must be a whole number in [0, 4], but it is 5"));
  EXPECT_THAT(message("18446744073709551615", "3"), HasSubstr("[0, 4], but it is 18446744073709551615"));
  EXPECT_THAT(message("1.5", "3"), HasSubstr("[0, 4], but it is 1.5"));
  EXPECT_THAT(message("0", "1"),
              HasSubstr("'longest_answer' must be a whole number in [2, 2147483647], but it is 1"));
  EXPECT_THAT(attributes_error("translation", R"({"answer_start": 0, "longest_answer": 3})"),
              HasSubstr("kind generate has 'answer_end', but it is missing"));
}

TEST_F(TaskPackFile, TasksOfAGridHaveOneHeadForAllDomains) {
  const auto cells = [](const std::string& classes) {
    StoredGroup pack = whole_pack();
    auto& tasks = pack.groups["tasks"].groups;
    const std::string rest = R"(, "task": "answer", "domain": ")";
    tasks["words"].arrays["attributes"] = stored_bytes(R"({"classes": ["no", "yes"])" + rest + "en\"}");
    tasks["woorden"] = words();
    tasks["woorden"].arrays["attributes"] = stored_bytes(R"({"classes": )" + classes + rest + "nl\"}");
    return pack;
  };
  const auto attributes = open(cells(R"(["no", "yes"])")).task("woorden").attributes;
  EXPECT_EQ(attributes.at("task"), "answer");
  EXPECT_EQ(attributes.at("domain"), "nl");

  EXPECT_THAT(error_of<DataError>([&] { open(cells(R"(["yes", "no"])")); }),
              HasSubstr("tasks with the same 'task', here \"answer\", must be of one kind and have the same "
                        "classes, but woorden and words differ"));
  EXPECT_THAT(attributes_error("words", R"({"classes": ["a", "b"], "task": 3})"),
              HasSubstr("'task' must be a text, but it is 3"));
}

TEST_F(TaskPackFile, RefusesTokenTablesThatAreWrong) {
  const auto message = [&](const std::function<void(StoredGroup & tokens)>& change) {
    return error("words", [&](StoredGroup& pack) { change(pack.groups["tokens"]); });
  };
  EXPECT_THAT(message([](StoredGroup& tokens) { tokens.attributes["pad"] = int64_t{5}; }),
              HasSubstr("'pad' must be the id of one of the 5 entries of the vocabulary, but it is 5"));
  EXPECT_THAT(message([](StoredGroup& tokens) { tokens.attributes["mask"] = int64_t{-1}; }),
              HasSubstr("'mask' must be the id of one of the 5 entries"));
  EXPECT_THAT(message([](StoredGroup& tokens) { tokens.attributes["separator"] = int64_t{5}; }),
              HasSubstr("'separator' must be the id of one of the 5 entries"));
  EXPECT_THAT(message([](StoredGroup& tokens) {
                tokens.arrays["special"] = stored<uint32_t>({0, 9});
              }),
              HasSubstr("special: ids must be less than the size of the vocabulary, 5, but one is 9"));
  EXPECT_THAT(message([](StoredGroup& tokens) { tokens.arrays["tokenizer"] = stored_bytes("{ }"); }),
              HasSubstr("tokenizer_sha256 must be the digest of the tokenizer"));
  EXPECT_THAT(
      message([](StoredGroup& tokens) { tokens.arrays["bytes"] = stored_bytes("<pad>"); }),
      HasSubstr("bytes_offsets: offsets must end with the number of values, 5, but they end with 14"));
  EXPECT_THAT(message([](StoredGroup& tokens) { tokens.arrays["bytes_offsets"] = stored<uint32_t>({0}); }),
              HasSubstr("must have the shape [vocabulary + 1], but it is [1]"));
}

TEST_F(TaskPackFile, UnknownNamesListTheKnownOnes) {
  const TaskPack pack = open(whole_pack());
  EXPECT_THAT(error_of<ConfigError>([&] { pack.task("leters"); }), HasSubstr("did you mean 'letters'?"));
  EXPECT_THAT(error_of<ConfigError>([&] { pack.read("leters", "test"); }),
              HasSubstr("did you mean 'letters'?"));
  EXPECT_THAT(error_of<ConfigError>([&] { pack.read("letters", "tests"); }), HasSubstr("train, val, test"));
}

}  // namespace
}  // namespace fusegrid::test
