// Any bytes: literals and config files either parse or are refused, and what parses survives being written and read
// again.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "config/literal.h"
#include "config/literal_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const std::optional<demask::Literal> literal = demask::parse_literal(text)) {
    const std::optional<demask::Literal> again = demask::parse_literal(demask::to_source(*literal));
    if (!again || !(*again == *literal)) {
      std::abort();
    }
  }
  try {
    for (const demask::Assignment& assignment : demask::parse_assignments(text)) {
      if (assignment.key.empty() || assignment.offset >= size) {
        std::abort();
      }
    }
  } catch (const demask::LiteralError& error) {
    if (demask::line_of(text, error.offset()) == 0) {
      std::abort();
    }
  }
  return 0;
}
