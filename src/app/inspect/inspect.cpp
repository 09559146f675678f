#include "app/inspect/inspect.h"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "app/inspect/kinds.h"
#include "checkpoint/file_kind.h"
#include "checkpoint/model_folder.h"
#include "core/input_file.h"
#include "core/json.h"
#include "core/text.h"
#include "output/output_file.h"
#include "output/trace_format.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

namespace fs = std::filesystem;

constexpr InputFileKind any_kind{
    "file",
    "--inspect takes a training checkpoint, a TorchScript module, a model's folder or safetensors, a vocabulary, a run "
    "file or a trace."};

FileReport report_on_folder(const Config& config, const std::string& path) {
  std::error_code unknown;
  const fs::path folder(path);
  const bool has_model = fs::exists(folder / weights_name, unknown) || fs::exists(folder / weights_index_name, unknown);
  if (has_model || fs::exists(folder / config_name, unknown)) {
    return report_on_model_folder(config, path);
  }
  if (vocabulary_in(path)) {
    return report_on_vocabulary(path);
  }
  fail(ExitCode::bad_input, "the folder '{}' is neither a model's nor a vocabulary's. {}{}", path,
       list_neighbours(folder / config_name), " Name one of the files.");
}

std::string first_bytes(const std::string& path) {
  uint64_t size = 0;
  std::ifstream file = open_input_file(path, any_kind, size);
  std::string start(std::min<size_t>(recognised_bytes, static_cast<size_t>(size)), '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(file.gcount()));
  return start;
}

// JSON of a trace says so in its first member; every other text is left to the vocabularies, which say what it lacks.
FileReport report_on_text(const std::string& path, std::string_view start) {
  if (starts_with(start, "{\"demask\":")) {
    return report_on_run_file(path);
  }
  if (starts_with(start, fmt::format("{{\"format\":\"{}\"", trace_format))) {
    return report_on_trace(path);
  }
  const size_t first = start.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  const bool may_be_meta = start[0] == '\x80' || (first != std::string_view::npos && start[first] == '{');
  if (vocabulary_kind(path) == VocabularyKind::meta && !may_be_meta) {
    fail(ExitCode::bad_input, "'{}' is nothing that demask reads. {}", path, any_kind.advice);
  }
  return report_on_vocabulary(path);
}

}  // namespace

FileReport inspect_file(const Config& config) {
  const std::string& path = *config.inspect;
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) {
    return report_on_folder(config, path);
  }
  const std::string start = first_bytes(path);
  if (is_model_folder(path)) {
    return report_on_model_folder(config, path);
  }
  if (starts_with(start, "PK\3\4")) {
    return report_on_zip(config, path);
  }
  if (const auto known = recognise_file(start, any_kind)) {
    fail(ExitCode::bad_input, "'{}' is {}", path, *known);
  }
  return report_on_text(path, start);
}

void print_inspection(const Config& config) {
  const FileReport report = inspect_file(config);
  constexpr int indent = 2;
  write_to_stdout(config.inspect_format == InspectFormat::json ? dump_json(report.facts, indent) + "\n"
                                                               : to_text(report));
  if (report.refusal) {
    throw Error(*report.refusal);
  }
}

}  // namespace demask
