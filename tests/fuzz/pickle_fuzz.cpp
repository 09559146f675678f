// Pickles, and what the messages say of their values.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "checkpoint/pickle.h"
#include "core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const demask::Pickle pickle(std::string_view(reinterpret_cast<const char*>(data), size), "input");
    const demask::PickleValue& root = pickle.root();
    demask::describe(root);
    if (root.kind == demask::PickleValue::Kind::dict) {
      demask::list_keys(root);
      demask::find(root, "model");
    }
  } catch (const demask::Error&) {
  }
  return 0;
}
