// Vocabularies in every format; in one of characters, each survives encoding. Pieces may be such that no text has them:
// parts of characters, or of more than one word.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "tests/fuzz/memory_file.h"
#include "text/character_vocabulary.h"
#include "text/read_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile file;
  try {
    const auto vocabulary = demask::read_vocabulary(file.write(data, size));
    const bool characters = dynamic_cast<const demask::CharacterVocabulary*>(vocabulary.get()) != nullptr;
    for (int64_t id = 0; id < vocabulary->size() && id < 100; ++id) {
      if (!characters || !vocabulary->has_text(id)) {
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
