#include "text/read_vocabulary.h"

#include <cstdint>
#include <string_view>

#include "checkpoint/file_kind.h"
#include "core/error.h"
#include "core/input_file.h"
#include "core/text.h"
#include "text/meta_file.h"

namespace demask {
namespace {

constexpr InputFileKind vocabulary_file{"vocabulary", "Set --meta_path or --dataset."};
constexpr uint64_t max_file_bytes = uint64_t{16} << 20;

}  // namespace

std::unique_ptr<Vocabulary> read_vocabulary(const std::string& path) {
  const std::string content = read_input_file(path, vocabulary_file, max_file_bytes);
  const std::string_view start = std::string_view(content).substr(0, recognised_bytes);
  if (const auto known = recognise_file(start, vocabulary_file)) {
    fail(ExitCode::bad_input, "vocabulary '{}': it is {}", path, *known);
  }
  if (starts_with(start, "PK\3\4")) {
    fail(ExitCode::bad_input,
         "vocabulary '{}': it is a zip file, perhaps a checkpoint; a vocabulary is nanoGPT's meta.pkl, or the same in "
         "JSON.",
         path);
  }
  return read_meta_file(content, path);
}

}  // namespace demask
