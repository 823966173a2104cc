// The eight text-to-text tasks. The examples are in data/seq2seq.h5, made by tools/make_seq2seq_pack.py. The order
// alternates definitions, spelled words and names, so that "the first three experts" is a mixed set.

#include "tasks/suite.h"

namespace fusegrid::suites::seq2seq8 {
namespace {

constexpr const char* kModality = "text to text";
constexpr const char* kByHypernym = "by first hypernym";
constexpr const char* kByConcept = "by concept, in all languages";

const std::vector<TaskCard>& cards() {
  static const std::vector<TaskCard> all{
      {"noun", "Fields of nouns (WordNet)", kModality, 24, "the definition of a noun: the name of its field",
       kByHypernym},
      {"g2p", "Phones of words (CMU dictionary)", kModality, 0, "an English word, spelled: its phones",
       "by the first five letters"},
      {"language", "Languages in Latin script (CLDR)", kModality, 16,
       "the name of a language, territory, currency or emoji: its language", kByConcept},
      {"artifact", "Kinds of artifacts (WordNet)", kModality, 13,
       "the definition of a thing made by people: the name of its kind", kByHypernym},
      {"lemma", "Base forms of irregular forms (WordNet)", kModality, 0,
       "an irregular form, spelled: the base form, spelled", "by the first four letters of the base form"},
      {"country", "Countries of places (CLDR)", kModality, 20,
       "the English name of a subdivision: the name of its country", "by the first four letters"},
      {"nominal", "Nouns of adjectives (WordNet)", kModality, 0,
       "an adjective, spelled: the noun derived from it, spelled",
       "by the first four letters of the adjective"},
      {"emoji", "Groups of emoji (CLDR, Unicode)", kModality, 9,
       "the English name and keywords of an emoji: the name of its group", kByConcept},
  };
  return all;
}

const bool registered = [] {
  suite_registry().add(
      "seq2seq8", {"seq2seq8", "seq2seq.h5", "tools/make_seq2seq_pack.py; licences in data/NOTICE", cards()});
  return true;
}();

}  // namespace
}  // namespace fusegrid::suites::seq2seq8
