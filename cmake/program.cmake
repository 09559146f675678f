# The program: a front without LibTorch, and the engine, a shared object that it carries inside and loads when there is
# something to draw. Its run path is that of the build, for it is not installed by itself.
add_executable(demask src/main.cpp)
target_link_libraries(demask PRIVATE demask_front)
demask_own_code(demask)
# What users see of LibTorch's build: compiled with its headers, not linked to it.
add_library(demask_libtorch_build OBJECT src/model/libtorch_build_${DEMASK_DEVICE}.cpp)
target_include_directories(demask_libtorch_build PRIVATE src)
target_link_libraries(demask_libtorch_build PRIVATE demask_torch demask_fmt)
demask_own_code(demask_libtorch_build)
foreach(part demask_front demask_model)
  target_sources(${part} PRIVATE $<TARGET_OBJECTS:demask_libtorch_build>)
endforeach()

if(DEMASK_SANITIZE)
  # Sanitizers want to be there before any code that they check.
  target_sources(demask PRIVATE src/app/linked_engine.cpp src/app/engine_entry.cpp)
  target_link_libraries(demask PRIVATE demask_app)
  return()
endif()
add_library(demask_carried_engine MODULE src/app/engine_entry.cpp)
target_link_libraries(demask_carried_engine PRIVATE demask_app)
target_link_options(demask_carried_engine PRIVATE -Wl,-z,now "-Wl,--version-script=${PROJECT_SOURCE_DIR}/src/app/engine.map")
set(engine_file ${CMAKE_BINARY_DIR}/libdemask_engine.so)
set_target_properties(demask_carried_engine PROPERTIES OUTPUT_NAME demask_engine LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/src/app/engine.map)
demask_own_code(demask_carried_engine)
target_sources(demask PRIVATE src/app/carried_engine.cpp)
set_source_files_properties(src/app/carried_engine.cpp PROPERTIES OBJECT_DEPENDS ${engine_file}
  COMPILE_DEFINITIONS DEMASK_ENGINE_FILE="${engine_file}")
add_dependencies(demask demask_carried_engine)
target_link_libraries(demask PRIVATE ${CMAKE_DL_LIBS})
