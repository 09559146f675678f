// Traces that a report compares with: what is read survives being written, and gives a page in which it ends no script.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "output/read_trace.h"
#include "output/report.h"
#include "output/trace.h"
#include "tests/fuzz/memory_file.h"

namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile file;
  static const size_t scripts = count_of(demask::report_page({}), "</script");
  try {
    const nlohmann::ordered_json trace = demask::read_trace(file.write(data, size));
    if (nlohmann::ordered_json::parse(demask::to_text(trace)) != trace) {
      std::abort();
    }
    if (count_of(demask::report_page({trace, trace}), "</script") != scripts + 2) {
      std::abort();
    }
  } catch (const demask::Error&) {
  }
  return 0;
}
