// Lists of prompts, as lines of text or JSON lines by the first byte's lowest bit, stopping at a bad line by the next.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "app/work_list.h"
#include "core/error.h"

namespace {

// In the order of the file, with what every prompt has.
bool holds(const demask::PromptList& list, bool skip_bad) {
  int64_t line = 0;
  for (const demask::Prompt& item : list.prompts) {
    const int given =
        (item.start_text ? 1 : 0) + (item.infill_text ? 1 : 0) + (item.infill ? 1 : 0) + (item.tokens ? 1 : 0);
    if (item.line <= line || item.id.empty() || given != 1) {
      return false;
    }
    for (const int64_t id : item.tokens.value_or(std::vector<int64_t>{})) {
      if (id < 0) {
        return false;
      }
    }
    line = item.line;
  }
  line = 0;
  for (const demask::BadLine& bad : list.bad_lines) {
    if (bad.line <= line || bad.reason.empty()) {
      return false;
    }
    line = bad.line;
  }
  return !list.prompts.empty() && (skip_bad || list.bad_lines.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const uint8_t choice = size == 0 ? 0 : data[0];
  const bool is_json = (choice & 1U) != 0, skip_bad = (choice & 2U) != 0;
  std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
  in.ignore(1);
  try {
    if (!holds(demask::read_work_list(in, "list", is_json, skip_bad), skip_bad)) {
      std::abort();
    }
  } catch (const demask::Error&) {
  }
  return 0;
}
