#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "app/inspect/kinds.h"
#include "core/json.h"
#include "output/read_trace.h"
#include "output/run_lines.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

constexpr off_t longest_tail = off_t{64} << 20;

struct Tail {
  std::optional<int64_t> last;  // index of the last whole line
  bool torn = false;            // bytes follow that end
};

// Looks for the file's last whole line behind the header, from the end, in longer and longer pieces.
Tail read_tail(int file, const std::string& path, off_t begin) {
  const off_t size = ::lseek(file, 0, SEEK_END);
  Tail tail;
  std::string bytes;
  for (off_t length = 1 << 16;; length *= 4) {
    const off_t from = std::max(begin, size - std::min(length, longest_tail));
    bytes.resize(static_cast<size_t>(size - from));
    const size_t got = bytes.empty() ? 0 : read_at(file, path, bytes.data(), bytes.size(), from);
    bytes.resize(got);
    const size_t end = bytes.rfind('\n');
    tail.torn = !bytes.empty() && end != bytes.size() - 1;
    const size_t before = end == std::string::npos || end == 0 ? std::string::npos : bytes.rfind('\n', end - 1);
    const bool whole = end != std::string::npos && (before != std::string::npos || from == begin);
    if (whole) {
      const size_t first = before == std::string::npos ? 0 : before + 1;
      tail.last = index_of(std::string_view(bytes).substr(first, end - first));
    }
    if (whole || from == begin || length >= longest_tail) {
      return tail;
    }
  }
}

int64_t number(const Json& object, const char* key, int64_t otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

void add_progress(const Json& header, const Tail& tail, FileReport& report) {
  const auto shard = header.find("shard");
  const Json& part = shard != header.end() && shard->is_object() ? *shard : header;
  const int64_t first = number(part, "first", 0), samples = number(part, "samples", 0);
  const int64_t written = tail.last ? *tail.last + 1 - first : 0;
  Json& lines = report.facts["lines"];
  lines["first"] = first;
  lines["of"] = samples;
  lines["written"] = written;
  lines["torn_line_at_the_end"] = tail.torn;
  const bool complete = written == samples && !tail.torn;
  report.facts["use"] = !complete               ? "not complete: its command with --resume=True goes on where it stops"
                        : shard != header.end() ? "complete: --merge puts it together with the other shards"
                                                : "complete";
}

}  // namespace

FileReport report_on_run_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));  // NOLINT(*-vararg)
  if (!file.is_open()) {
    fail_reading(path, last_error());
  }
  LineReader reader(file.get(), path);
  const std::optional<Header> header = read_header(reader);
  if (!header || !header->ended) {
    fail(ExitCode::bad_input,
         "the run file '{}' is damaged: its first line, which says what made it, is not whole JSON. Write it anew.",
         path);
  }
  FileReport report;
  report.facts["file"] = path;
  report.facts["kind"] = "run file";
  std::error_code unknown;
  report.facts["bytes"] = std::filesystem::file_size(path, unknown);
  add_progress(header->members, read_tail(file.get(), path, reader.offset()), report);
  report.facts["header"] = header->members;
  return report;
}

FileReport report_on_trace(const std::string& path) {
  const Json trace = read_trace(path);
  FileReport report;
  Json& facts = report.facts;
  facts["file"] = path;
  facts["kind"] = "trace";
  facts["version"] = trace["version"];
  facts["method"] = trace["method"];
  facts["title"] = trace["title"];
  facts["tokens"] = trace["tokens"].size();
  for (const Json& sample : trace["samples"]) {
    const Json& shape = sample["tokens"]["shape"];
    facts["samples"].push_back({{"index", sample["index"]}, {"steps", shape[0]}, {"positions", shape[1]}});
  }
  facts["command"] = trace["command"];
  facts["use"] = "--compare=" + path + " shows it beside another run in a --report";
  facts["run"] = trace["run"];
  return report;
}

}  // namespace demask
