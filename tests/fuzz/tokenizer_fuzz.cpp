// Tokenizers of byte-level BPE in every format; with one that is read, decoded texts are UTF-8, and a text whose every
// character has pieces comes back where nothing normalises or drops parts of it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "core/utf8.h"
#include "tests/fuzz/memory_file.h"
#include "text/read_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile file;
  try {
    const auto vocabulary = demask::read_vocabulary(file.write(data, size));
    const std::string start(reinterpret_cast<const char*>(data), size < 200 ? size : 200);
    for (const std::string& text :
         {std::string("It's <|endoftext|> 1234  \n\u00E9\U0001F600 abcabc"), demask::repair_utf8(start)}) {
      for (const bool parse_special : {false, true}) {
        const auto encoding = vocabulary->encode(text, parse_special);
        for (const int64_t id : encoding.ids) {
          if (!vocabulary->has_text(id)) {
            std::abort();
          }
        }
        if (!demask::is_utf8(vocabulary->decode(encoding.ids))) {
          std::abort();
        }
      }
    }
  } catch (const demask::Error&) {
  }
  return 0;
}
