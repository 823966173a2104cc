// Six domains of text for language models, and of each a question that its expert answers: which ending belongs to the
// beginning of a text. The examples are in language_model.h5, which is not committed: tools/make_language_model_pack.py
// makes it. The order alternates definitions, names and spelled words, so that "the first three experts" is a mixed
// set.

#include "tasks/suite.h"

namespace fusegrid::suites::language_model6 {
namespace {

constexpr const char* kModality = "language model";
constexpr const char* kChoice = "multiple choice";
constexpr const char* kByHypernym = "by first hypernym";
constexpr const char* kByConcept = "by concept, in all languages";

const std::vector<TaskCard>& cards() {
  static const std::vector<TaskCard> all{
      {"noun", "Nouns and their definitions (WordNet)", kModality, 0, "nouns with their definition",
       kByHypernym},
      {"phones", "Words and their phones (CMU dictionary)", kModality, 0,
       "an English word, spelled, and its phones", "by the first five letters"},
      {"name", "Names in sixteen languages (CLDR)", kModality, 0,
       "the name of a language, territory, currency or emoji, not the English one", kByConcept},
      {"verb", "Verbs and their definitions (WordNet)", kModality, 0, "verbs with their definition",
       kByHypernym},
      {"emoji", "Emoji and their keywords (CLDR)", kModality, 0, "the English name and keywords of an emoji",
       kByConcept},
      {"example", "Examples of words (WordNet)", kModality, 0,
       "a sentence or phrase that shows how a word is used", kByHypernym},
      {"noun_end", "Definitions of nouns (WordNet)", kChoice, 4, "nouns: which definition is theirs",
       kByHypernym, "noun"},
      {"phones_end", "Phones of words (CMU dictionary)", kChoice, 4,
       "an English word, spelled: which phones are its", "by the first five letters", "phones"},
      {"name_end", "Ends of names (CLDR)", kChoice, 4, "the first half of a name: which is the other",
       kByConcept, "name"},
      {"verb_end", "Definitions of verbs (WordNet)", kChoice, 4, "verbs: which definition is theirs",
       kByHypernym, "verb"},
      {"emoji_end", "Keywords of emoji (CLDR)", kChoice, 4,
       "the English name of an emoji: which keywords are its", kByConcept, "emoji"},
      {"example_end", "Ends of examples (WordNet)", kChoice, 4,
       "the first half of a sentence or phrase: which is the other", kByHypernym, "example"},
  };
  return all;
}

const bool registered = [] {
  suite_registry().add("language_model6",
                       {"language_model6", "language_model.h5",
                        "tools/make_language_model_pack.py; licences in data/NOTICE", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::language_model6
