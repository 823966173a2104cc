# Tests are compiled once and run for seconds: the time goes into the compiler, so it optimises less, and GoogleTest is
# precompiled with the rest. Half the compile time of a test.
set(FUSEGRID_TEST_OPTIMISATION ${FUSEGRID_CALLER_OPTIMISATION})
fusegrid_add_precompiled(fusegrid_precompiled_tests OPTIONS ${FUSEGRID_TEST_OPTIMISATION}
  LIBRARIES GTest::gtest GTest::gmock HEADERS ${FUSEGRID_PRECOMPILED_HEADERS} <gtest/gtest.h> <gmock/gmock.h>)

# fusegrid_add_test(<folder> [LIBRARIES <targets...>] [SHARDS <n>] [TIMEOUT <seconds>] [LABELS <labels...>])
# builds tests/<folder>/*_test.cpp into one GoogleTest program and registers it with CTest, in SHARDS parts that run side by
# side. Not case by case: each process loads LibTorch first, which takes longer than most cases. It is the one line of
# tests/<folder>/CMakeLists.txt.
function(fusegrid_add_test folder)
  cmake_parse_arguments(ARG "" "TIMEOUT;SHARDS" "LIBRARIES;LABELS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  string(REPLACE "/" "_" name ${folder})
  fusegrid_batches(batches ${name}_test ${PROJECT_SOURCE_DIR}/tests ${sources})
  add_executable(${name}_test ${batches})
  target_link_libraries(${name}_test PRIVATE fusegrid_options GTest::gtest GTest::gmock GTest::gtest_main
    ${ARG_LIBRARIES} fusegrid_source_folder)
  target_compile_options(${name}_test PRIVATE ${FUSEGRID_TEST_OPTIMISATION})
  target_precompile_headers(${name}_test REUSE_FROM fusegrid_precompiled_tests)
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  if(NOT ARG_SHARDS)
    set(ARG_SHARDS 1)
  endif()
  foreach(shard RANGE 1 ${ARG_SHARDS})
    math(EXPR index "${shard} - 1")
    add_test(NAME ${folder}/${shard} COMMAND ${name}_test --gtest_brief=1)
    set_tests_properties(${folder}/${shard} PROPERTIES
      TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()
