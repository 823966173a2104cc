// Emoji with their names: two styles of drawing, five languages; and what the people among them do, asked by names. The
// examples are in pairs.h5, which is not committed: tools/make_pairs_pack.py makes it.

#include <array>
#include <string>

#include "tasks/suite.h"

namespace fusegrid::suites::emoji_pairs {
namespace {

constexpr const char* kByEmoji = "by emoji, in all drawings and languages";
constexpr int64_t kRoles = 71;

struct Named {
  const char* code;
  const char* name;
};
constexpr std::array<Named, 2> kStyles{{{"noto", "Noto"}, {"one", "EmojiOne"}}};
constexpr std::array<Named, 5> kLanguages{
    {{"en", "English"}, {"de", "German"}, {"fr", "French"}, {"es", "Spanish"}, {"cs", "Czech"}}};

TaskCard names_of(const Named& style, const Named& language) {
  return {std::string(style.code) + "_" + language.code,
          std::string(style.name) + " emoji, " + language.name + " names",
          "retrieval",
          0,
          std::string("a picture and its name in ") + language.name,
          kByEmoji};
}

TaskCard roles_in(const Named& language) {
  return {std::string("role_") + language.code,
          std::string("Roles of people, ") + language.name + " prompts",
          "zero-shot classification",
          kRoles,
          "a Noto picture of a person who does or is something",
          kByEmoji};
}

// First those that experts are made for, then the base's own, then pairs of a style and a language that no model was
// trained on, then the zero-shot tasks.
std::vector<TaskCard> tasks() {
  const auto& [noto, one] = kStyles;
  const auto& [english, german, french, spanish, czech] = kLanguages;
  std::vector<TaskCard> all{names_of(noto, german), names_of(noto, french), names_of(noto, spanish),
                            names_of(noto, czech),  names_of(one, english), names_of(noto, english),
                            names_of(one, german),  names_of(one, french)};
  for (const Named& language : kLanguages) {
    all.push_back(roles_in(language));
  }
  return all;
}

const bool registered = [] {
  suite_registry().add("emoji_pairs", {"emoji_pairs", "pairs.h5", "tools/make_pairs_pack.py", tasks()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::emoji_pairs
