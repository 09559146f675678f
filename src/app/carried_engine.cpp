// The engine as a shared object that the executable carries inside, so that what needs no LibTorch starts without it
// and the program is still one file. DEMASK_ENGINE_FILE is what the build made; its bytes lie in a read-only section,
// which costs nothing until it is read.
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "app/engine_entry.h"
#include "app/start_engine.h"
#include "core/error.h"
#include "core/freed_memory.h"
#include "core/write_all.h"
#include "model/libtorch_build.h"

__asm__(
    ".pushsection .rodata\n"
    ".hidden demask_engine_begin\n"
    ".hidden demask_engine_end\n"
    ".globl demask_engine_begin\n"
    ".globl demask_engine_end\n"
    ".balign 4096\n"
    "demask_engine_begin:\n"
    ".incbin \"" DEMASK_ENGINE_FILE
    "\"\n"
    "demask_engine_end:\n"
    ".popsection\n");
extern "C" const char demask_engine_begin[];
extern "C" const char demask_engine_end[];

namespace demask {
namespace {

// While this lives, the limit on the size of files, which holds for those in memory too, is as high as this process may
// set it.
class FilesAsLargeAsMayBe {
 public:
  FilesAsLargeAsMayBe() noexcept {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY}, most{before_.rlim_max, before_.rlim_max};
    if (::setrlimit(RLIMIT_FSIZE, &none) != 0) {
      ::setrlimit(RLIMIT_FSIZE, &most);
    }
  }
  FilesAsLargeAsMayBe(const FilesAsLargeAsMayBe&) = delete;
  FilesAsLargeAsMayBe& operator=(const FilesAsLargeAsMayBe&) = delete;
  ~FilesAsLargeAsMayBe() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

// A file in memory alone.
int engine_in_memory() {
  const std::string_view engine(demask_engine_begin, static_cast<size_t>(demask_engine_end - demask_engine_begin));
  const FilesAsLargeAsMayBe limit;
  const int file = ::memfd_create("demask-engine", MFD_CLOEXEC);
  if (file < 0 || !write_all(file, engine)) {
    const int reason = errno;
    fail(ExitCode::failed, "the engine could not be put into memory: {}. It takes {} bytes of a memory file{}.",
         std::strerror(reason), engine.size(),
         reason == EFBIG ? ", for which the limit on the size of files holds too (ulimit -f): raise it" : "");
  }
  return file;
}

}  // namespace

void settle_environment() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    ::setenv("GOMP_SPINCOUNT", "3000", /*overwrite=*/0);
  }
}

int start_engine(const CommandLine& command, ModelAhead* ahead) {
  const int file = engine_in_memory();
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  // LibTorch's libraries look for each other's symbols among those that all of the process see, and for functions when
  // they are first called, as in a program linked to them; the engine's own are all there once it is loaded (-z now).
  void* const engine = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_GLOBAL);
  if (engine == nullptr) {
    fail(ExitCode::failed,
         "LibTorch could not be loaded: {}. This demask was built on {}: install that, or name the folder of its "
         "libraries in LD_LIBRARY_PATH.",
         ::dlerror(), describe_libtorch(0));
  }
  ::close(file);
  return_constants_of_libraries();  // some 50 MB of LibTorch's, and the carried bytes
  const auto enter = reinterpret_cast<decltype(&demask_engine)>(::dlsym(engine, "demask_engine"));
  if (enter == nullptr) {
    fail(ExitCode::failed, "the engine inside this executable is not its own: build demask again. {}", ::dlerror());
  }
  const int exit_code = enter(&command, ahead);
  // Taking LibTorch's registries down takes a seventh of the time that loading it does, and nothing waits for that.
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

}  // namespace demask
