# demask's own CPU kernels: one file an instruction set, compiled for it; at run time the machine is asked whether it has
# it. Optimised in every build: without inlining their registers become memory.
set(DEMASK_CPU_KERNEL_SOURCES cpu_portable_int8.cpp)
# A compiler that fuses the product with a scale and the sum with a bias does so in tiles of some heights only, and rows
# would depend on what is computed beside them.
set(without_fusing -ffp-contract=off)
set(flags_cpu_portable_int8.cpp ${without_fusing})
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND DEMASK_CPU_KERNEL_SOURCES cpu_avx2.cpp cpu_avx512.cpp cpu_avx512_bf16.cpp cpu_avx2_int8.cpp cpu_avx_vnni.cpp
    cpu_avx512_vnni.cpp)
  set(avx512 -mfma -mavx512f -mavx512dq -mavx512bw -mavx512vl)
  set(flags_cpu_avx2.cpp -mfma -mavx2)
  set(flags_cpu_avx512.cpp ${avx512})
  set(flags_cpu_avx512_bf16.cpp ${avx512} -mavx512bf16)
  set(flags_cpu_avx2_int8.cpp ${without_fusing} -mfma -mavx2)
  set(flags_cpu_avx_vnni.cpp ${without_fusing} -mfma -mavx2 -mavxvnni)
  set(flags_cpu_avx512_vnni.cpp ${without_fusing} ${avx512} -mavx512vnni)
  # As /proc/cpuinfo calls what each needs most.
  set(needs_cpu_avx2.cpp avx2)
  set(needs_cpu_avx512.cpp avx512bw)
  set(needs_cpu_avx512_bf16.cpp avx512_bf16)
  set(needs_cpu_avx2_int8.cpp avx2)
  set(needs_cpu_avx_vnni.cpp avx_vnni)
  set(needs_cpu_avx512_vnni.cpp avx512_vnni)
endif()
set(compiled_for_instructions ${DEMASK_CPU_KERNEL_SOURCES})
# Those that this machine can run, all where it does not tell.
set(DEMASK_RUNNABLE_KERNEL_SOURCES ${compiled_for_instructions})
if(EXISTS /proc/cpuinfo)
  file(READ /proc/cpuinfo cpuinfo)
  foreach(source ${compiled_for_instructions})
    if(needs_${source} AND NOT cpuinfo MATCHES "[ \t]${needs_${source}}[ \n]")
      list(REMOVE_ITEM DEMASK_RUNNABLE_KERNEL_SOURCES ${source})
    endif()
  endforeach()
endif()
# For the sources as seen from the calling folder.
macro(demask_set_cpu_kernel_flags)
  foreach(source ${compiled_for_instructions})
    set(level -O3)
    if(DEMASK_SANITIZE AND NOT source IN_LIST DEMASK_RUNNABLE_KERNEL_SOURCES)
      set(level -O0)  # nobody will run it
    endif()
    # GCC 12 takes the undefined vectors inside its own intrinsics for ours.
    set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON
      COMPILE_OPTIONS "${level};-Wno-unused-function;-Wno-uninitialized;-Wno-unknown-warning-option;-Wno-maybe-uninitialized;${flags_${source}};${ARGN}")
  endforeach()
endmacro()
# Sanitizers make them tens of times slower, so the program goes without; unit_kernels has them checked.
demask_set_cpu_kernel_flags(-fno-sanitize=all)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND DEMASK_CPU_KERNEL_SOURCES cpu_detect.cpp)
else()
  list(APPEND DEMASK_CPU_KERNEL_SOURCES cpu_isa_none.cpp)
endif()
