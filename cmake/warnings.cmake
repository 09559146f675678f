# Compile settings for demask's own code and nothing else.
function(demask_own_code target)
  # Only for C++: what nvcc writes for the host compiler is not our code.
  set(options -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
    -Wcast-align -Wunused -Wdouble-promotion -Wformat=2)
  if(DEMASK_WARNINGS_AS_ERRORS)
    list(APPEND options -Werror)
  endif()
  if(CMAKE_UNITY_BUILD)
    list(APPEND options $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)  # a class of one file, joined with others, is no class of a header
  endif()
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${options}>")
  if(DEMASK_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${DEMASK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
    if(DEMASK_SANITIZE MATCHES "address")
      # The same checks, as calls: kernels compile in half the time.
      target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:--param=asan-instrumentation-with-call-threshold=0>)
    endif()
    target_link_options(${target} PRIVATE -fsanitize=${DEMASK_SANITIZE})
  endif()
endfunction()

# For code that is as quick so, and compiled in half of -O3's time.
function(demask_optimise_little target)
  if(NOT DEMASK_SANITIZE)
    target_compile_options(${target} PRIVATE -O1)
  endif()
endfunction()
