# LibTorch: Debian's 1.13 (its version file calls 1.13.1 "1.13.0"), or any 2.x named by CMAKE_PREFIX_PATH.
find_package(Torch 1.13 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)

# demask_find_c_library(<name> HEADER file LIBRARY name PACKAGE debian's [STATIC_DEFINITION macro]): demask_<name>, by
# header and library alone, so that a prefix in CMAKE_PREFIX_PATH may hold either kind of either.
function(demask_find_c_library name)
  cmake_parse_arguments(c "" "HEADER;LIBRARY;PACKAGE;STATIC_DEFINITION" "" ${ARGN})
  string(TOUPPER DEMASK_${name} variable)
  find_path(${variable}_INCLUDE ${c_HEADER})
  find_library(${variable}_LIBRARY NAMES ${c_LIBRARY})
  mark_as_advanced(${variable}_INCLUDE ${variable}_LIBRARY)
  if(NOT ${variable}_INCLUDE OR NOT ${variable}_LIBRARY)
    message(FATAL_ERROR "demask: ${c_HEADER} or lib${c_LIBRARY} was not found. Install ${c_PACKAGE} (scripts/setup does), "
      "or name a prefix that has them in CMAKE_PREFIX_PATH.")
  endif()
  add_library(demask_${name} INTERFACE)
  target_include_directories(demask_${name} SYSTEM INTERFACE ${${variable}_INCLUDE})
  target_link_libraries(demask_${name} INTERFACE ${${variable}_LIBRARY})
  if(${variable}_LIBRARY MATCHES "\\.a$")
    target_compile_definitions(demask_${name} INTERFACE ${c_STATIC_DEFINITION})
  endif()
endfunction()
# Regular expressions and Unicode's normal forms, which tokenizers ask for.
demask_find_c_library(pcre2 HEADER pcre2.h LIBRARY pcre2-8 PACKAGE libpcre2-dev STATIC_DEFINITION PCRE2_STATIC)
demask_find_c_library(utf8proc HEADER utf8proc.h LIBRARY utf8proc PACKAGE libutf8proc-dev STATIC_DEFINITION UTF8PROC_STATIC)

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

# demask's own CUDA kernels need nvcc; without it LibTorch's operations do their work.
set(DEMASK_CUDA_KERNEL_SOURCES cuda_none.cpp)
option(DEMASK_CUDA_KERNELS "Build demask's own CUDA kernels where LibTorch has CUDA and nvcc is found" ON)
if(DEMASK_DEVICE STREQUAL cuda AND DEMASK_CUDA_KERNELS)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)  # for the devices that TORCH_CUDA_ARCH_LIST names, or those in this machine
    set(DEMASK_CUDA_KERNEL_SOURCES cuda_tensors_forward.cpp cuda_tensors_attention.cpp cuda_tensors_sampling.cpp cuda_products.cpp cuda_tensors_stream.cpp cuda_norm.cu cuda_forward.cu cuda_attention.cu cuda_attention_few.cu cuda_window_attention.cu cuda_bidirectional_attention.cu cuda_decode_layers.cu cuda_rows.cu cuda_rows_tensor.cu cuda_rows_few.cu cuda_rows_two.cu cuda_tile_products.cu cuda_stream_products.cu cuda_judged_product.cu cuda_draw.cu cuda_draw_small.cu cuda_draw_next.cu cuda_draw_next_wide.cu cuda_draw_wide.cu
      cuda_measure.cu cuda_step.cu cuda_select.cu cuda_excess.cu cuda_doubt.cu cuda_pattern.cu cuda_pattern_spans.cu)
  else()
    message(STATUS "demask: no nvcc found, so LibTorch's operations take the place of demask's own CUDA kernels")
  endif()
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
if(Torch_VERSION VERSION_GREATER_EQUAL 2.0)
  # PyTorch's own builds export std::filesystem functions of another compiler (a crash in remove_all with 2.11), so the
  # program's standard library must be found before them.
  target_link_libraries(demask_torch INTERFACE "-Wl,--push-state,--no-as-needed,-lstdc++,--pop-state")
endif()
target_link_libraries(demask_torch INTERFACE ${TORCH_LIBRARIES})
target_include_directories(demask_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
separate_arguments(demask_torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(demask_torch INTERFACE ${demask_torch_flags})
# LibTorch 2.x brings fmt headers of its own version, which hide the system's: then every part of demask uses those, without
# the system's library.
add_library(demask_fmt INTERFACE)
find_path(DEMASK_TORCH_FMT fmt/format.h PATHS ${TORCH_INCLUDE_DIRS} NO_DEFAULT_PATH)
get_target_property(system_fmt fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
if(DEMASK_TORCH_FMT AND NOT DEMASK_TORCH_FMT STREQUAL system_fmt)
  target_include_directories(demask_fmt SYSTEM INTERFACE ${DEMASK_TORCH_FMT})
  target_compile_definitions(demask_fmt INTERFACE FMT_HEADER_ONLY)
else()
  target_link_libraries(demask_fmt INTERFACE fmt::fmt)
endif()

message(STATUS "demask: LibTorch ${Torch_VERSION}, device ${DEMASK_DEVICE}, attention ${DEMASK_ATTENTION}")
