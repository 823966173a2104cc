// Six domains of text for language models. The examples are in language_model.h5, which is not committed:
// tools/make_language_model_pack.py makes it. The order alternates definitions, names and spelled words, so that "the
// first three experts" is a mixed set.

#include "tasks/suite.h"

namespace fusegrid::suites::language_model6 {
namespace {

constexpr const char* kModality = "language model";
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
