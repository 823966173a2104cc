// The arrays and attributes of a task pack, written as text and put into a file that is sound HDF5: what is tried is
// how they are read, not the library.
#include "store/task_pack.h"

#include <array>
#include <sstream>

#include "fuzz/target.h"
#include "support/stored_file.h"

namespace fusegrid::fuzz::task_pack {
namespace {

using test::StoredGroup;

// Lines of an input.
enum Line {
  kClasses,
  kDecoding,
  kExamples,
  kLabels,
  kTokens,
  kTokenRows,
  kAnswers,
  kAnswerRows,
  kBytes,
  kChoices,
  kChoiceRows,
  kChoicesOfExamples,
  kNumLines
};

std::array<std::string, kNumLines> lines_of(std::string_view input) {
  std::istringstream stream{std::string(input)};
  std::array<std::string, kNumLines> lines;
  for (std::string& line : lines) {
    std::getline(stream, line);
  }
  return lines;
}

// Its numbers, up to what is none.
template <typename T>
test::StoredArray array_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<T> values;
  for (uint64_t value = 0; stream >> value;) {
    values.push_back(static_cast<T>(value));
  }
  return test::stored(std::move(values));
}

int64_t number_of(const std::string& line) {
  int64_t number = 0;
  std::istringstream(line) >> number;
  return number;
}

// Three examples of a text with a label, of a text with an answer, and of one with choices and a label.
StoredGroup pack_of(std::string_view input) {
  const auto lines = lines_of(input);
  StoredGroup words = test::stored_split(3);
  words.attributes["examples"] = number_of(lines[kExamples]);
  words.arrays["tokens"] = array_of<uint16_t>(lines[kTokens]);
  words.arrays["tokens_offsets"] = array_of<uint32_t>(lines[kTokenRows]);
  StoredGroup answers = words;
  StoredGroup choices = words;
  words.arrays["labels"] = array_of<uint16_t>(lines[kLabels]);
  answers.arrays["answers"] = array_of<uint16_t>(lines[kAnswers]);
  answers.arrays["answers_offsets"] = array_of<uint32_t>(lines[kAnswerRows]);
  choices.arrays["choices"] = array_of<uint16_t>(lines[kChoices]);
  choices.arrays["choices_offsets"] = array_of<uint32_t>(lines[kChoiceRows]);
  choices.arrays["choices_rows"] = array_of<uint32_t>(lines[kChoicesOfExamples]);
  choices.arrays["labels"] = array_of<uint16_t>(lines[kLabels]);
  StoredGroup choose = test::stored_task("multiple_choice", "{}");
  StoredGroup classify = test::stored_task("classify", lines[kClasses]);
  StoredGroup generate = test::stored_task("generate", lines[kDecoding]);
  for (const auto* split : {"train", "val", "test"}) {
    classify.groups[split] = words;
    generate.groups[split] = answers;
    choose.groups[split] = choices;
  }
  StoredGroup pack = test::stored_pack({{"choose", choose}, {"classify", classify}, {"generate", generate}});
  pack.groups["tokens"] = test::stored_tokens();
  pack.groups["tokens"].arrays["bytes_offsets"] = array_of<uint32_t>(lines[kBytes]);
  return pack;
}

void read(std::string_view input) {
  const std::string path = scratch_folder() + "/pack.h5";
  pack_of(input).write(path);
  const TaskPack pack(path);
  for (const TaskInfo& task : pack.tasks()) {
    const Split split = pack.read(task.name, "val");
    for (int64_t i = 0; i < split.tokens.size(); ++i) {
      static_cast<void>(pack.tokens()->text(split.tokens.row(i)));
    }
  }
}

std::vector<std::string> seeds() {
  return {
      "{\"classes\": [\"a\", \"b\", \"c\"], \"domain\": \"toy\"}\n"
      "{\"answer_start\": 0, \"answer_end\": 1, \"longest_answer\": 3}\n"
      "3\n0 2 1\n2 3 4 2 3 3\n0 3 4 6\n3 1 4 3 1 2 1\n0 2 5 7\n0 5 9 11 12 14\n"
      "3 4 2 2 3 4 3 4\n0 1 2 4 5 6 7 8\n0 2 5 7\n"};
}

const RegisterTarget registered{"task_pack",
                                {read,
                                 seeds,
                                 {"\"classes\": [", "\"domain\": ", "\"answer_start\": ", "\"answer_end\": ",
                                  "\"longest_answer\": ", " 65535", " 65536", " 0", " 4294967295"}}};

}  // namespace
}  // namespace fusegrid::fuzz::task_pack
