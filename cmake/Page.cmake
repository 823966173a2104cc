# report.html: its frame, style and script (src/report/html) become part of the program; the libraries that it carries stay
# in the folder FUSEGRID_PAGE_LIBRARIES of the cache, which is named after the list of their versions.
file(SHA256 ${PROJECT_SOURCE_DIR}/tools/requirements-page.txt digest)
string(SUBSTRING ${digest} 0 12 digest)
set(FUSEGRID_PAGE_LIBRARIES page-${digest})
foreach(kind html css js)
  set(file ${PROJECT_SOURCE_DIR}/src/report/html/page.${kind})
  string(TOUPPER PAGE_${kind} variable)
  file(READ ${file} ${variable})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/requirements-page.txt)
configure_file(${PROJECT_SOURCE_DIR}/cmake/page_files.cpp.in ${PROJECT_BINARY_DIR}/page_files.cpp @ONLY)
