// Pages that are generated from the registries, so that no fact about a method or task is written twice.
#pragma once

#include <ostream>
#include <string>

#include "fusion/method.h"
#include "tasks/suite.h"
#include "zoo/recipe.h"
#include "zoo/zoo.h"

namespace fusegrid {

// For a terminal.
std::string method_text(const Method& method);
std::string classes_text(const TaskCard& task);  // "-" where answers are open
std::string task_text(const Suite& suite, const TaskCard& task);
std::string zoo_text(const Zoo& zoo);
std::string recipe_text(const Recipe& recipe);

// For docs/: Markdown.
std::string methods_page();
std::string mergekit_page();
std::string tasks_page();

}  // namespace fusegrid
