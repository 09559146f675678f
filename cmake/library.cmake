# The library: one shared object, of whose symbols those of include/demask are seen, and the package by which other
# projects find it.
add_library(demask_library SHARED src/library/sampler.cpp)
set_target_properties(demask_library PROPERTIES OUTPUT_NAME demask EXPORT_NAME demask
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(demask_library PRIVATE demask_engine)
# What the static parts hold stays inside, C libraries among them where they are linked from archives.
target_link_options(demask_library PRIVATE
  "-Wl,--exclude-libs,libdemask_core.a:libdemask_config.a:libdemask_model_files.a:libdemask_checkpoint.a:libdemask_text.a:libdemask_pattern.a:libdemask_kernels.a:libdemask_model_info.a:libdemask_model.a:libdemask_strategies.a:libdemask_sampling.a:libdemask_vocabulary_use.a:libdemask_engine.a:libpcre2-8.a:libutf8proc.a")
target_include_directories(demask_library INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(demask_library INTERFACE cxx_std_17)
demask_own_code(demask_library)
demask_reuse_torch_headers(demask_library)
