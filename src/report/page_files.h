// The files of src/report/html, which the program holds.
#pragma once

namespace fusegrid {

extern const char* const kPageHtml;  // with a slot {{name}} for each part
extern const char* const kPageCss;
extern const char* const kPageJs;

}  // namespace fusegrid
