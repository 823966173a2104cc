# fusegrid_add_build_facts(<target>): compiles what the program knows of its own making into <target>: git revision and
# versions of libraries (src/cli/build_facts.h). The revision is looked up at every build, but only a changed one is
# written, so that nothing else is compiled again.
function(fusegrid_add_build_facts target)
  set(output ${PROJECT_BINARY_DIR}/generated/build_facts.cpp)
  execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE mpi_version ERROR_QUIET)
  string(REGEX MATCH "^[^\n]*" mpi_version "${mpi_version}")
  set(nccl_version "none")
  if(FUSEGRID_HAVE_NCCL)
    file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h lines REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) +[0-9]+")
    string(REGEX REPLACE "[^0-9;]" "" lines "${lines}")
    string(REPLACE ";" "." nccl_version "${lines}")
  endif()
  set(facts ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DTEMPLATE=${PROJECT_SOURCE_DIR}/cmake/build_facts.cpp.in
    -DOUTPUT=${output} -DVERSION=${PROJECT_VERSION} "-DMPI=${mpi_version}" -DHDF5=${HDF5_VERSION} -DNCCL=${nccl_version}
    "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" "-DBUILD_TYPE=${CMAKE_BUILD_TYPE}"
    -DARCH=${FUSEGRID_ARCH} -P ${PROJECT_SOURCE_DIR}/cmake/WriteBuildFacts.cmake)
  execute_process(COMMAND ${facts})  # the file exists before the first build
  add_custom_target(fusegrid_build_facts COMMAND ${facts} BYPRODUCTS ${output} COMMENT "" VERBATIM)
  target_sources(${target} PRIVATE ${output})
  add_dependencies(${target} fusegrid_build_facts)
endfunction()
