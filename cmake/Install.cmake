# cmake --install <build folder> --prefix <P>: bin/fusegrid, share/fusegrid (data, jobs) and, with FUSEGRID_BUNDLE_TORCH,
# LibTorch in lib/fusegrid, laid out as in the wheels, whose libraries find each other by that layout. P can be moved.
install(TARGETS fusegrid RUNTIME DESTINATION bin)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/ DESTINATION share/fusegrid OPTIONAL)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/jobs DESTINATION share/fusegrid OPTIONAL FILES_MATCHING PATTERN *.cfg PATTERN *.csv)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION share/doc/fusegrid)
# What report.html carries, where ./fusegrid setup put it; without it, `fusegrid report` writes all the rest.
foreach(file plots.js tables.js tables.css licences.txt)
  install(FILES ${FUSEGRID_CACHE_FOLDER}/${FUSEGRID_PAGE_LIBRARIES}/${file} DESTINATION share/fusegrid/page OPTIONAL)
endforeach()

set(install_rpath ${FUSEGRID_TORCH_DIR}/lib)
if(FUSEGRID_BUNDLE_TORCH)
  set(install_rpath $ORIGIN/../lib/fusegrid/torch/lib)
  get_filename_component(wheels ${FUSEGRID_TORCH_DIR} DIRECTORY)
  if(EXISTS ${wheels}/nvidia/cudnn)  # the CUDA half is there as well
    file(GLOB torch_libraries ${FUSEGRID_TORCH_DIR}/lib/*.so*)
    list(FILTER torch_libraries EXCLUDE REGEX "libtorch_python|libshm")
    file(GLOB toolkit_libraries RELATIVE ${wheels} ${wheels}/nvidia/*/lib/*.so*)
  else()
    file(GLOB torch_libraries ${FUSEGRID_TORCH_DIR}/lib/libtorch_cpu.so ${FUSEGRID_TORCH_DIR}/lib/libc10.so
         ${FUSEGRID_TORCH_DIR}/lib/libgomp*.so*)
    file(GLOB toolkit_libraries RELATIVE ${wheels}
         ${wheels}/nvidia/*/lib/libcudart.so* ${wheels}/nvidia/*/lib/libcupti.so*)
  endif()
  install(FILES ${torch_libraries} DESTINATION lib/fusegrid/torch/lib)
  foreach(library ${toolkit_libraries})
    get_filename_component(folder ${library} DIRECTORY)
    install(FILES ${wheels}/${library} DESTINATION lib/fusegrid/${folder})
  endforeach()
  file(GLOB licences RELATIVE ${wheels} ${wheels}/torch-*.dist-info/licenses ${wheels}/nvidia_*.dist-info/licenses)
  foreach(folder ${licences})
    get_filename_component(package ${folder} DIRECTORY)
    install(DIRECTORY ${wheels}/${folder}/ DESTINATION share/doc/fusegrid/${package})
  endforeach()
endif()
if(FUSEGRID_HAVE_NCCL)  # those of the toolkit stay where they are
  get_filename_component(nccl_folder ${NCCL_LIBRARY} DIRECTORY)
  list(APPEND install_rpath ${nccl_folder} ${CUDAToolkit_LIBRARY_DIR})
  list(REMOVE_DUPLICATES install_rpath)
endif()
set_target_properties(fusegrid PROPERTIES INSTALL_RPATH "${install_rpath}")
