#include "output/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "output/output_file.h"
#include "output/run_lines.h"
#include "output/run_lock.h"

namespace demask {
namespace {

struct EarlierRun {
  std::string header_line;
  WholeLines lines;
};

// What an earlier run left in the file; nothing where it did not get past the header.
std::optional<EarlierRun> read_earlier_run(const Descriptor& file, const RunFileOptions& options,
                                           const std::string& header_line) {
  LineReader reader(file.get(), options.path);
  const std::string_view start = reader.start(header_line.size() + 1);
  if (start == std::string_view(header_line).substr(0, start.size())) {
    return std::nullopt;
  }
  const std::optional<Header> header = read_header(reader);
  if (!header) {
    fail(ExitCode::bad_input,
         "the output '{}' cannot be resumed and is left as it is: its first line is not the header of a demask run; "
         "name another --output, or leave out --resume=True to overwrite it",
         options.path);
  }
  // Through text once, as the file's was: what JSON has no value for, such as infinity, is null in both.
  const auto ours = nlohmann::ordered_json::parse(header_line);
  if (const auto difference = first_difference(header->members, ours, options.not_compared)) {
    fail(ExitCode::bad_usage,
         "the output '{}' cannot be resumed: its {} is {}, and that of this run is {}; run with the same settings, or "
         "name another --output",
         options.path, difference->key, difference->here, difference->there);
  }
  if (!header->ended) {
    return std::nullopt;
  }
  return EarlierRun{header->line, read_lines(reader, options.range)};
}

void check_line(int64_t index, const std::string& line) {
  if (index_of(line) != index || line.find('\n') != std::string::npos) {
    throw std::logic_error(fmt::format("not the line of sample {}: {}", index, line));
  }
}

}  // namespace

RunFile::RunFile(const RunFileOptions& options)
    : path_(options.path), header_line_(dump_json(options.header)), range_(options.range), next_(options.range.first) {
  const OutputPlace place = output_place(path_);
  if (place.regular && !place.stream) {
    open_regular(options);
    return;
  }
  if (options.resume) {
    fail(ExitCode::bad_usage,
         "the output '{}' cannot be resumed: --resume=True needs an --output that is a regular file and not where "
         "standard output or error go",
         path_);
  }
  file_ = std::make_unique<DirectOutput>(place.stream ? duplicate(*place.stream) : open_to_write(path_), path_, false);
  file_->append(header_line_ + "\n");
}

RunFile::RunFile(RunFile&&) noexcept = default;
RunFile& RunFile::operator=(RunFile&&) noexcept = default;
RunFile::~RunFile() = default;

void RunFile::open_regular(const RunFileOptions& options) {
  const int access = options.resume ? O_RDWR : O_WRONLY;
  // Appending, so that a line that was cut off leaves no hole before the next one.
  Descriptor descriptor(::open(path_.c_str(), access | O_CREAT | O_APPEND | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
  if (!descriptor.is_open()) {
    fail_output(path_, last_error());
  }
  if (!try_lock(descriptor, LOCK_EX)) {
    fail_locked(path_);
  }
  side_path_ = side_path_of(followed(path_));
  std::optional<EarlierRun> earlier;
  if (options.resume) {
    earlier = read_earlier_run(descriptor, options, header_line_);
  }
  file_ = std::make_unique<DirectOutput>(std::move(descriptor), path_, true);
  if (!earlier) {
    start_anew();
    return;
  }
  header_line_ = earlier->header_line;
  next_ = earlier->lines.next;
  file_->cut(earlier->lines.bytes);
  take_up_side();
}

void RunFile::start_anew() {
  remove_side();  // first: beside an empty file, its lines could be taken for those of the new run
  file_->cut(0);
  file_->append(header_line_ + "\n");
}

void RunFile::take_up_side() {
  SideLines side = read_side(side_path_, header_line_, range_, next_);
  held_ = std::move(side.held);
  if (!held_.empty()) {
    open_side(side.bytes);
  }
  if (held_.count(next_) > 0) {  // killed after it closed the gap, before all that had waited was written
    write_from_next("");
  }
}

// Keeps the first `bytes` of it: what follows is torn, or no longer needed.
void RunFile::open_side(int64_t bytes) {
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
  auto side = std::make_unique<DirectOutput>(Descriptor(::open(side_path_.c_str(), flags, 0666)),  // NOLINT(*-vararg)
                                             side_path_, true, bytes);
  side->cut(bytes);
  side_ = std::move(side);
}

void RunFile::remove_side() {
  side_.reset();
  if (::unlink(side_path_.c_str()) != 0 && errno != ENOENT && errno != ENAMETOOLONG) {
    fail(ExitCode::failed, "the file '{}' could not be removed: {}", side_path_, last_error());
  }
}

bool RunFile::has(int64_t index) const {
  return (index >= range_.first && index < next_) || held_.count(index) > 0;
}

void RunFile::append(int64_t index, std::string line) {
  check_line(index, line);
  if (index < range_.first || index >= range_.end() || has(index)) {
    throw std::logic_error(
        fmt::format("sample {} is there already or not one of {} from {} on", index, range_.count, range_.first));
  }
  if (index == next_) {
    write_from_next(std::move(line) + "\n");
  } else {
    hold(index, std::move(line));
  }
}

void RunFile::hold(int64_t index, std::string line) {
  if (!side_path_.empty()) {
    if (!side_) {
      open_side(0);
    }
    side_->append((held_.empty() ? header_line_ + "\n" : "") + line + "\n");
  }
  held_.emplace(index, std::move(line));
}

// `text` is the next line, or nothing where that is held; all held lines whose turn it then is follow it. Only when
// they are in the file, nothing of the side file is needed any more.
void RunFile::write_from_next(std::string text) {
  int64_t end = next_ + (text.empty() ? 0 : 1);
  do {
    auto line = held_.lower_bound(end);
    for (; line != held_.end() && line->first == end && text.size() < piece_bytes; ++line, ++end) {
      text += line->second;
      text += '\n';
    }
    file_->append(text);
    next_ = end;
    held_.erase(held_.begin(), line);
    text.clear();
  } while (held_.count(end) > 0);
  if (held_.empty() && side_) {
    side_->cut(0);
  }
}

void RunFile::finish() {
  if (!complete()) {
    throw std::logic_error(fmt::format("'{}' is not complete: sample {} is missing", path_, next_));
  }
  if (!side_path_.empty()) {
    file_->sync();  // before its removal, or a crash of the machine could cost lines that only the side file has
    remove_side();
  }
  file_->finish();
}

}  // namespace demask
