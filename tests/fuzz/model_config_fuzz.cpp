// Configurations of models: a description that is read is one that can be computed with, and is read back as it was
// when it is written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/model_folder.h"
#include "core/error.h"
#include "tests/fuzz/memory_file.h"

namespace {

bool is_sound(const demask::TransformerDescription& of) {
  const int64_t sizes[] = {of.layers,     of.heads,   of.key_value_heads,
                           of.head_width, of.width,   of.feed_forward_width,
                           of.block_size, of.outputs, of.vocabulary_size};
  for (const int64_t size : sizes) {
    if (size < 1 || size > int64_t{1} << 31) {
      return false;
    }
  }
  return of.heads % of.key_value_heads == 0 && of.norm_epsilon > 0 && of.rotary_base > 1 &&
         (!of.rotary || of.head_width % 2 == 0) && (!of.mask_token_id || *of.mask_token_id < of.vocabulary_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static demask::fuzz::MemoryFile memory;
  demask::Architecture architecture;
  const demask::Family* family = nullptr;
  try {
    const std::string& path = memory.write(data, size);
    const nlohmann::json config = demask::read_config(path);
    family = &demask::find_family(config, path);
    architecture = family->read_config(demask::ConfigReader(config, path));
  } catch (const demask::Error&) {
    return 0;
  }
  // Not within the above: what was read must not be refused when it is read back.
  const nlohmann::json written = family->write_config(architecture);
  const demask::Architecture again = family->read_config(demask::ConfigReader(written, "written"));
  const bool same = again.description.width == architecture.description.width &&
                    again.description.feed_forward_width == architecture.description.feed_forward_width &&
                    again.description.key_value_heads == architecture.description.key_value_heads &&
                    again.description.rotary_base == architecture.description.rotary_base &&
                    again.description.outputs == architecture.description.outputs &&
                    again.description.mask_token_id == architecture.description.mask_token_id;
  if (!is_sound(architecture.description) || !same) {
    std::abort();
  }
  return 0;
}
