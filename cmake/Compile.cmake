# Interface target fusegrid_options: language level, warnings, optimisation policy of our own code.
add_library(fusegrid_options INTERFACE)
target_compile_features(fusegrid_options INTERFACE cxx_std_20)
target_compile_options(fusegrid_options INTERFACE
  # sign conversions: LibTorch counts in int64_t, the standard library in size_t, and each index would need a cast
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wpedantic -Wnon-virtual-dtor -Woverloaded-virtual
  -fPIC  # everywhere, not -fPIE for executables: the precompiled header serves all
  -ffp-contract=off)  # the same bits whatever multiply-adds a compiler would like to fuse
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # At -O3 GCC 12 sees overlapping or endless copies in `"literal" + std::string` that are not there (GCC bug 105651).
  target_compile_options(fusegrid_options INTERFACE -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
# Without it ATen/TensorOperators.h includes every operator of LibTorch: 4 s of compile time per file.
target_compile_definitions(fusegrid_options INTERFACE AT_PER_OPERATOR_HEADERS)
if(FUSEGRID_WERROR)
  target_compile_options(fusegrid_options INTERFACE -Werror)
endif()
if(FUSEGRID_ARCH)
  target_compile_options(fusegrid_options INTERFACE -march=${FUSEGRID_ARCH})
endif()
if(FUSEGRID_SANITIZE)
  target_link_options(fusegrid_options INTERFACE -fsanitize=address,undefined)
endif()
target_include_directories(fusegrid_options INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/cmake/quick)

find_program(FUSEGRID_CCACHE ccache)
if(FUSEGRID_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${FUSEGRID_CCACHE})
  # base_dir and no directory hashing: a fresh clone in another folder hits the cache of an older one
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_PCH_EXTSUM=1
      ${FUSEGRID_CCACHE})
endif()

# System headers are included as SYSTEM, so that warnings stay ours.
foreach(dependency c10 torch_cpu)
  get_target_property(directories ${dependency} INTERFACE_INCLUDE_DIRECTORIES)
  if(directories)
    set_target_properties(${dependency} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${directories}")
  endif()
endforeach()

# ATen's headers and the JSON library are most of a file's compile time (7 s of 8 without precompiling them).
# fusegrid_add_precompiled(<target> [OPTIONS <options...>] [LIBRARIES <targets...>] HEADERS <headers...>): a library that
# owns a precompiled header for targets of the same compile options. ccache identifies it by the .sum file instead of its
# bytes, in which GCC writes absolute paths.
function(fusegrid_add_precompiled target)
  cmake_parse_arguments(ARG "" "" "OPTIONS;LIBRARIES;HEADERS" ${ARGN})
  add_library(${target} STATIC ${PROJECT_SOURCE_DIR}/cmake/precompiled.cpp)
  target_compile_options(${target} PRIVATE ${ARG_OPTIONS})
  target_link_libraries(${target} PRIVATE fusegrid_options torch_cpu nlohmann_json::nlohmann_json ${ARG_LIBRARIES})
  target_precompile_headers(${target} PRIVATE ${ARG_HEADERS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    get_target_property(shared fusegrid_options INTERFACE_COMPILE_OPTIONS)
    get_target_property(own ${target} COMPILE_OPTIONS)
    string(SHA256 identity "${ARG_HEADERS};${shared};${own};${FUSEGRID_TORCH_DIR};${CMAKE_CXX_COMPILER_VERSION};\
${CMAKE_CXX_FLAGS};${CMAKE_BUILD_TYPE};${CMAKE_CXX_FLAGS_RELEASE}")
    file(WRITE ${PROJECT_BINARY_DIR}/CMakeFiles/${target}.dir/cmake_pch.hxx.gch.sum ${identity})
  endif()
endfunction()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(fusegrid_options INTERFACE -fpch-preprocess)  # lets ccache see what the header stands for
endif()
set(FUSEGRID_PRECOMPILED_HEADERS <filesystem> <functional> <map> <memory> <optional> <string> <vector>
  <ATen/core/Tensor.h> <ATen/TensorOperators.h> <ATen/ops/empty.h> <nlohmann/json.hpp>)
fusegrid_add_precompiled(fusegrid_precompiled HEADERS ${FUSEGRID_PRECOMPILED_HEADERS})

# The same for folders that are compiled with the sanitizers: what they define and check is compiled into the header, too.
if(FUSEGRID_SANITIZE)
  # Instrumented, GCC 12 takes members of std::regex for uninitialised (lora_config.cpp), which they are not.
  # Checks of each pointer would double the compile time; of those that matter, the address sanitizer finds most.
  set(FUSEGRID_SANITIZE_OPTIONS -O1 -g1 -fsanitize=address,undefined -fno-sanitize=null,alignment,object-size,vptr
      -fno-omit-frame-pointer -Wno-maybe-uninitialized)
  fusegrid_add_precompiled(fusegrid_precompiled_sanitized OPTIONS ${FUSEGRID_SANITIZE_OPTIONS}
                           HEADERS ${FUSEGRID_PRECOMPILED_HEADERS})
endif()

# fusegrid_precompile(<target>): compiles the target with the precompiled header.
function(fusegrid_precompile target)
  target_precompile_headers(${target} REUSE_FROM fusegrid_precompiled)
endfunction()

# fusegrid_sanitize(<target>): the same, with the sanitizers.
function(fusegrid_sanitize target)
  target_compile_options(${target} PRIVATE ${FUSEGRID_SANITIZE_OPTIONS})
  target_precompile_headers(${target} REUSE_FROM fusegrid_precompiled_sanitized)
endfunction()

# What only calls libraries gains nothing from more, and takes a third less of the compiler's time.
set(FUSEGRID_CALLER_OPTIMISATION -O1)
if(CMAKE_CXX_FLAGS MATCHES "-O0")
  set(FUSEGRID_CALLER_OPTIMISATION "")
endif()

# Most of a file's compile time is what its headers instantiate, once for each file: so files of a folder are compiled
# several at a time (docs/design/compile_times.md), and their names in unnamed namespaces differ (tests/architecture
# checks it).
set(FUSEGRID_BATCH 8 CACHE STRING "files compiled as one (1: each alone, for whoever compiles few of them often)")

# fusegrid_batches(<variable> <target> <base folder> <files...>): sets <variable> to the files that compile <files...>, in
# order, FUSEGRID_BATCH at a time. They name them from the base folder, an include directory: so they are the same in each
# clone, and ccache knows them.
function(fusegrid_batches variable target base)
  list(LENGTH ARGN length)
  if(FUSEGRID_BATCH LESS 2 OR length LESS 2)
    set(${variable} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  math(EXPR last "(${length} - 1) / ${FUSEGRID_BATCH}")
  foreach(number RANGE ${last})
    math(EXPR begin "${number} * ${FUSEGRID_BATCH}")
    list(SUBLIST ARGN ${begin} ${FUSEGRID_BATCH} files)
    set(content "")
    foreach(file ${files})
      file(RELATIVE_PATH name ${base} ${file})
      string(APPEND content "#include \"${name}\"\n")
    endforeach()
    set(batch ${PROJECT_BINARY_DIR}/batches/${target}_${number}.cpp)
    file(CONFIGURE OUTPUT ${batch} CONTENT "${content}" @ONLY)  # written only where it differs
    # a local name that another file of the batch has too shadows nothing that its reader sees
    set_source_files_properties(${batch} PROPERTIES COMPILE_OPTIONS "-Wno-shadow;-Wshadow=local")
    list(APPEND batches ${batch})
  endforeach()
  set(${variable} ${batches} PARENT_SCOPE)
endfunction()

# fusegrid_add_library(<folder> [OBJECT] [LOOPS] [REGISTERED <subfolders...>] DEPENDS <targets...>): the library of one folder
# of src/, from all .cpp files below it. OBJECT: its files register themselves. REGISTERED: those of these subfolders do,
# and whoever links the library links all of them. LOOPS: it goes over numbers itself.
function(fusegrid_add_library folder)
  cmake_parse_arguments(ARG "OBJECT;LOOPS" "" "REGISTERED;DEPENDS" ${ARGN})
  set(library fusegrid_${folder})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cpp)
  if(ARG_REGISTERED)
    list(JOIN ARG_REGISTERED "|" subfolders)
    set(registered ${sources})
    list(FILTER registered INCLUDE REGEX "/src/${folder}/(${subfolders})/")
    list(FILTER sources EXCLUDE REGEX "/src/${folder}/(${subfolders})/")
    fusegrid_add_batches(${library}_registered OBJECT ${registered})
    fusegrid_precompile(${library}_registered)
    target_link_libraries(${library}_registered PUBLIC fusegrid_options ${ARG_DEPENDS})
    target_compile_options(${library}_registered PRIVATE ${FUSEGRID_CALLER_OPTIMISATION})
  endif()
  if(ARG_OBJECT)
    fusegrid_add_batches(${library} OBJECT ${sources})  # a STATIC library would drop what nothing refers to
  else()
    fusegrid_add_batches(${library} STATIC ${sources})
  endif()
  target_link_libraries(${library} PUBLIC fusegrid_options ${ARG_DEPENDS})
  if(folder IN_LIST FUSEGRID_SANITIZE)
    fusegrid_sanitize(${library})
  else()
    fusegrid_precompile(${library})
  endif()
  if(ARG_REGISTERED)
    target_link_libraries(${library} INTERFACE $<TARGET_OBJECTS:${library}_registered>)
  endif()
  if(NOT ARG_LOOPS)
    target_compile_options(${library} PRIVATE ${FUSEGRID_CALLER_OPTIMISATION})
  endif()
endfunction()

# fusegrid_add_batches(<target> <type> <files...>): a library of files of src/.
function(fusegrid_add_batches target type)
  fusegrid_batches(batches ${target} ${PROJECT_SOURCE_DIR}/src ${ARGN})
  add_library(${target} ${type} ${batches})
endfunction()
