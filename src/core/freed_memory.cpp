#include "core/freed_memory.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>  // __GLIBC__
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace demask {
namespace {

// A segment that is neither written nor run. Relocated pointers lie in segments that can be written until they are
// relocated, and a debugger writes its breakpoints into code, so the pages of such a segment are as they are in the
// file.
bool is_constant(const ElfW(Phdr) & segment) {
  return segment.p_type == PT_LOAD && (segment.p_flags & (PF_W | PF_X)) == 0;
}

// Whether the object is one of the rare ones that have relocated pointers in any segment.
bool has_text_relocations(const dl_phdr_info& object) {
  for (int k = 0; k < object.dlpi_phnum; ++k) {
    if (object.dlpi_phdr[k].p_type != PT_DYNAMIC) {
      continue;
    }
    const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + object.dlpi_phdr[k].p_vaddr);
    for (; entry->d_tag != DT_NULL; ++entry) {
      if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0)) {
        return true;
      }
    }
  }
  return false;
}

int drop_constants(dl_phdr_info* object, size_t /*size*/, void* /*unused*/) {
  if (has_text_relocations(*object)) {
    return 0;
  }
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int k = 0; k < object->dlpi_phnum; ++k) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[k];
    if (is_constant(segment)) {
      const uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
      const uintptr_t end = object->dlpi_addr + segment.p_vaddr + segment.p_filesz;
      ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  }
  return 0;
}

}  // namespace

void return_freed_memory() noexcept {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void return_constants_of_libraries() noexcept {
  ::dl_iterate_phdr(drop_constants, nullptr);
}

}  // namespace demask
