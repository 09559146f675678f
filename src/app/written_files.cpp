#include "app/written_files.h"

#include <optional>

#include "core/error.h"
#include "core/overwriting.h"
#include "core/text.h"

namespace demask {
namespace {

struct WrittenFile {
  const char* key;
  std::string path;
};

std::vector<WrittenFile> written_files(const Config& config) {
  std::vector<WrittenFile> files;
  const auto add = [&files](const char* key, const std::optional<std::string>& path) {
    if (path) {
      files.push_back({key, *path});
    }
  };
  add("output", config.output == "-" ? std::nullopt : config.output);
  add("trace", config.trace);
  add("report", config.report);
  return files;
}

}  // namespace

void check_overwrites_nothing(const Config& config, const std::vector<std::string>& read) {
  const std::vector<WrittenFile> written = written_files(config);
  for (const WrittenFile& file : written) {
    check_overwrites_none(file.key, file.path, read);
    for (const WrittenFile& other : written) {
      if (&other < &file && are_one_file(file.path, other.path)) {
        fail(ExitCode::bad_usage, "{}={} and {}={} are one file: give each a file of its own.", other.key,
             quote(other.path), file.key, quote(file.path));
      }
    }
  }
}

}  // namespace demask
