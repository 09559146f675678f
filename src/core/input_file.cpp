#include "core/input_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"

namespace demask {
namespace {

constexpr size_t piece_bytes = size_t{1} << 16;  // that are read at a time

class StreamSource : public ByteSource {
 public:
  explicit StreamSource(std::istream& in) : in_(in) {}
  size_t read(char* bytes, size_t count) override {
    in_.read(bytes, static_cast<std::streamsize>(count));
    return static_cast<size_t>(in_.gcount());
  }
  bool failed() const override { return in_.bad(); }

 private:
  std::istream& in_;
};

}  // namespace

std::string list_neighbours(const std::filesystem::path& path) {
  constexpr size_t shown = 20;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(folder, error);
  if (error) {
    return fmt::format("There is no folder '{}' that can be read.", folder.string());
  }
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::error_code unknown;
    if (entry->is_regular_file(unknown)) {
      names.push_back(printable(entry->path().filename().string()));
    }
  }
  if (names.empty()) {
    return fmt::format("There are no files in '{}'.", folder.string());
  }
  std::sort(names.begin(), names.end());
  std::string list = fmt::format(
      "Files in '{}': {}", folder.string(),
      fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(shown, names.size())), ", "));
  return names.size() > shown ? fmt::format("{} and {} more.", list, names.size() - shown) : list + ".";
}

std::ifstream open_input_file(const std::string& path, const InputFileKind& kind, uint64_t& size) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    fail(ExitCode::bad_input, "{} not found: '{}'. {} {}", kind.what, path, list_neighbours(path), kind.advice);
  }
  if (std::filesystem::is_directory(status)) {
    fail(ExitCode::bad_input, "{} '{}' is a directory, not a file. {}", kind.what, path, kind.advice);
  }
  if (!error && !std::filesystem::is_regular_file(status)) {
    fail(ExitCode::bad_input, "{} '{}' is not a regular file. {}", kind.what, path, kind.advice);
  }
  if (!error) {
    size = std::filesystem::file_size(path, error);
  }
  std::ifstream file;
  errno = 0;
  if (!error) {
    file.open(path, std::ios::binary);
  }
  if (error || !file) {
    const std::string reason = error ? error.message() : std::strerror(errno);
    fail(ExitCode::bad_input, "{} '{}' cannot be read: {}.", kind.what, path, reason);
  }
  if (size == 0) {
    fail(ExitCode::bad_input, "{} '{}' is empty. {}", kind.what, path, kind.advice);
  }
  return file;
}

std::string read_input_file(const std::string& path, const InputFileKind& kind, uint64_t max_bytes) {
  uint64_t size = 0;
  std::ifstream file = open_input_file(path, kind, size);
  if (size > max_bytes) {
    fail(ExitCode::bad_input, "{} '{}': it has {} bytes, more than the {} allowed.", kind.what, path, size, max_bytes);
  }
  std::string content(static_cast<size_t>(size), '\0');
  if (!file.read(content.data(), static_cast<std::streamsize>(size))) {
    fail(ExitCode::bad_input, "{} '{}': it cannot be read.", kind.what, path);
  }
  return content;
}

Lines::Lines(std::istream& in, size_t max_line_bytes)
    : own_(std::make_unique<StreamSource>(in)),
      source_(*own_),
      max_line_bytes_(max_line_bytes),
      long_line_(LongLine::measured),
      piece_(piece_bytes, '\0') {}

Lines::Lines(ByteSource& source, size_t max_line_bytes, LongLine long_line)
    : source_(source), max_line_bytes_(max_line_bytes), long_line_(long_line), piece_(piece_bytes, '\0') {}

std::optional<char> Lines::first_byte() {
  while (true) {
    const bool may_be_mark = starts_with(byte_order_mark, rest_) && rest_.size() < byte_order_mark.size();
    const size_t at =
        rest_.find_first_not_of(" \t\r\n", starts_with(rest_, byte_order_mark) ? byte_order_mark.size() : 0);
    if (!may_be_mark && at != std::string_view::npos) {
      return rest_[at];
    }
    if (rest_.size() == piece_.size() || !read_behind_rest()) {
      return std::nullopt;
    }
  }
}

bool Lines::next() {
  text_.clear();
  bytes_ = 0;
  while (number_ == 0 && starts_with(byte_order_mark, rest_) && rest_ != byte_order_mark && read_behind_rest()) {
  }
  if (number_ == 0 && starts_with(rest_, byte_order_mark)) {
    rest_.remove_prefix(byte_order_mark.size());
  }
  if (rest_.empty() && !read_piece()) {
    return false;
  }
  ++number_;
  ended_ = false;
  char last = '\0';
  const auto goes_on = [this] { return bytes_ <= max_line_bytes_ || long_line_ == LongLine::measured; };
  while (!ended_ && goes_on() && (!rest_.empty() || read_piece())) {
    const size_t newline = rest_.find('\n');
    ended_ = newline != std::string_view::npos;
    const std::string_view part = rest_.substr(0, newline);
    bytes_ += part.size();
    last = part.empty() ? last : part.back();
    text_ += part.substr(0, max_line_bytes_ - text_.size());
    rest_.remove_prefix(part.size() + (ended_ ? 1 : 0));
  }
  if (ended_ && last == '\r') {
    --bytes_;
    text_.resize(std::min(text_.size(), bytes_));
  }
  return true;
}

bool Lines::read_piece() {
  rest_ = std::string_view(piece_).substr(0, source_.read(piece_.data(), piece_.size()));
  return !rest_.empty();
}

// The piece is as large as a pipe's, and what waits in it is moved to its start.
bool Lines::read_behind_rest() {
  const size_t waiting = rest_.size();
  std::copy(rest_.begin(), rest_.end(), piece_.begin());
  const size_t got = source_.read(piece_.data() + waiting, piece_.size() - waiting);
  rest_ = std::string_view(piece_).substr(0, waiting + got);
  return got > 0;
}

}  // namespace demask
