// Vocabularies in either format; in one that is read, each token survives encoding.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "tests/fuzz/memory_file.h"
#include "text/read_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile file;
  try {
    const auto vocabulary = demask::read_vocabulary(file.write(data, size));
    for (int64_t id = 0; id < vocabulary->size() && id < 100; ++id) {
      if (!vocabulary->has_text(id)) {
        continue;
      }
      const std::string_view text = vocabulary->token(id);
      if (vocabulary->decode(vocabulary->encode(text).ids) != text) {
        std::abort();
      }
    }
  } catch (const demask::Error&) {
  }
  return 0;
}
