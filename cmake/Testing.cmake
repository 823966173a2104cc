# fusegrid_add_test(<folder> [LIBRARIES <targets...>] [TIMEOUT <seconds>] [LABELS <labels...>])
# builds tests/<folder>/*_test.cpp into one GoogleTest program and registers each of its cases with CTest. It is the one
# line of tests/<folder>/CMakeLists.txt.
include(GoogleTest)

function(fusegrid_add_test folder)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LIBRARIES;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  string(REPLACE "/" "_" name ${folder})
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE fusegrid_options GTest::gtest GTest::gmock GTest::gtest_main ${ARG_LIBRARIES})
  fusegrid_precompile(${name}_test)
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name}_test PRIVATE
    FUSEGRID_SOURCE_DIR="${PROJECT_SOURCE_DIR}" FUSEGRID_BINARY_DIR="${PROJECT_BINARY_DIR}")
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST TEST_PREFIX ${folder}/
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
