#include "tasks/text_tasks.h"

namespace fusegrid {
namespace {

constexpr const char* kText = "text classification";
constexpr const char* kByHypernym = "by first hypernym, an adjective with those around its head";
constexpr const char* kByConcept = "by concept, in all languages";
constexpr const char* kByLetters = "by the first five letters";

}  // namespace

const std::vector<TaskCard>& learnable_text_tasks() {
  static const std::vector<TaskCard> tasks{
      {"noun24", "Fields of nouns (WordNet)", kText, 24, "the definition of a noun", kByHypernym},
      {"lang16", "Languages in Latin script (CLDR)", kText, 16,
       "the name of a language, territory, currency or emoji", kByConcept},
      {"stress3", "Stressed syllable (CMU dictionary)", kText, 3, "an English word, spelled", kByLetters},
      {"pos4", "Parts of speech (WordNet)", kText, 4, "the definition of a word", kByHypernym},
      {"country20", "Countries of places (CLDR)", kText, 20, "the English name of a subdivision",
       "by the first four letters"},
      {"vowel15", "Stressed vowel (CMU dictionary)", kText, 15, "an English word, spelled", kByLetters},
      {"artifact13", "Kinds of artifacts (WordNet)", kText, 13, "the definition of a thing made by people",
       kByHypernym},
      {"emoji9", "Groups of emoji (CLDR, Unicode)", kText, 9, "the English name and keywords of an emoji",
       kByConcept},
  };
  return tasks;
}

std::vector<TaskCard> all_text_tasks() {
  std::vector<TaskCard> tasks = learnable_text_tasks();
  tasks.push_back(
      {"verb14", "Fields of verbs (WordNet)", kText, 14, "the definition of a verb", kByHypernym});
  tasks.push_back(
      {"rel3", "Relation of two words (WordNet)", kText, 3, "two words with their definitions", kByHypernym});
  return tasks;
}

}  // namespace fusegrid
