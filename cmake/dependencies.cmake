# LibTorch: Debian's 1.13 (its version file calls 1.13.1 "1.13.0"), or any 2.x named by CMAKE_PREFIX_PATH.
find_package(Torch 1.13 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)

# Differences between LibTorch versions live in one file each, chosen here.
if(Torch_VERSION VERSION_GREATER_EQUAL 2.0)
  set(DEMASK_ATTENTION sdpa)
else()
  set(DEMASK_ATTENTION plain)
endif()

# CUDA headers alone do not make a CUDA build (Debian ships them without the libraries): the imported target does.
if(TARGET torch_cuda)
  set(DEMASK_DEVICE cuda)
else()
  set(DEMASK_DEVICE cpu)
endif()

# LibTorch 2.9 and later headers ask for C++20.
if(Torch_VERSION VERSION_GREATER_EQUAL 2.9)
  set(CMAKE_CXX_STANDARD 20)
else()
  set(CMAKE_CXX_STANDARD 17)
endif()
set(CMAKE_CXX_STANDARD_REQUIRED ON)

# TORCH_LIBRARIES carries whole-archive flags and include folders in several forms; this target gathers them once,
# as system includes, so that our warnings stay ours.
add_library(demask_torch INTERFACE)
target_link_libraries(demask_torch INTERFACE ${TORCH_LIBRARIES})
target_include_directories(demask_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
separate_arguments(demask_torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(demask_torch INTERFACE ${demask_torch_flags})
message(STATUS "demask: LibTorch ${Torch_VERSION}, device ${DEMASK_DEVICE}, attention ${DEMASK_ATTENTION}")
