// Reads what is in the file of a run: its header, and lines in order of which the last may be torn.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "output/output_file.h"
#include "output/run_file.h"

namespace demask {

constexpr size_t piece_bytes = 1 << 20;  // of a file that is read or written in pieces

[[noreturn]] inline void fail_reading(const std::string& path, const std::string& reason) {
  fail(ExitCode::bad_input, "the file '{}' cannot be read: {}", path, reason);
}

// Up to `count` bytes at `offset`; none at the end of the file. Throws Error(bad_input) where they cannot be read.
inline size_t read_at(int file, const std::string& path, char* bytes, size_t count, off_t offset) {
  const ssize_t got = read_some(file, bytes, count, offset);
  if (got < 0) {
    fail_reading(path, last_error());
  }
  return static_cast<size_t>(got);
}

struct Line {
  std::string_view text;  // without its end; valid until more is read
  bool ended = false;     // false only for the last one
};

// A file line by line, in memory that holds a piece of it or its longest line. Leaves the descriptor's position alone.
// What cannot be read is Error(bad_input).
class LineReader {
 public:
  LineReader(int file, std::string path) : file_(file), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  off_t offset() const { return read_ - static_cast<off_t>(end_ - begin_); }  // of the line that comes next
  int64_t line_number() const { return line_number_; }                        // of the line that next() gave last

  // The first `count` of the bytes that come next, fewer where the file ends before.
  std::string_view start(size_t count) {
    while (end_ - begin_ < count && fill()) {
    }
    return {buffer_.data() + begin_, std::min(count, end_ - begin_)};
  }
  bool at_end() { return start(1).empty(); }

  std::optional<Line> next() {
    size_t searched = 0;
    const char* line_end = nullptr;
    do {
      const char* unsearched = buffer_.data() + begin_ + searched;
      line_end = static_cast<const char*>(std::memchr(unsearched, '\n', end_ - begin_ - searched));
      searched = end_ - begin_;
    } while (line_end == nullptr && fill());
    if (searched == 0) {
      return std::nullopt;
    }
    const char* line = buffer_.data() + begin_;
    const size_t length = line_end == nullptr ? searched : static_cast<size_t>(line_end - line);
    begin_ += length + (line_end == nullptr ? 0 : 1);
    ++line_number_;
    return Line{{line, length}, line_end != nullptr};
  }

 private:
  // Reads another piece behind the bytes that wait; false at the end of the file.
  bool fill() {
    std::copy(buffer_.data() + begin_, buffer_.data() + end_, buffer_.data());
    end_ -= begin_;
    begin_ = 0;
    buffer_.resize(std::max(buffer_.size(), end_ + piece_bytes));
    const size_t got = read_at(file_, path_, buffer_.data() + end_, buffer_.size() - end_, read_);
    end_ += got;
    read_ += static_cast<off_t>(got);
    return got > 0;
  }

  int file_;
  std::string path_;
  std::string buffer_;
  size_t begin_ = 0;  // what waits is from here
  size_t end_ = 0;    // to here
  off_t read_ = 0;
  int64_t line_number_ = 0;
};

struct Header {
  std::string line;
  bool ended = false;
  nlohmann::ordered_json members;
};

// Nothing where the file does not begin with a header. Looks at its first bytes before it reads a whole line, which in
// a file of another kind could be all of it.
inline std::optional<Header> read_header(LineReader& reader) {
  constexpr std::string_view beginning = "{\"demask\":";
  if (reader.start(beginning.size()) != beginning) {
    return std::nullopt;
  }
  const std::optional<Line> line = reader.next();
  Header header{std::string(line->text), line->ended, nullptr};
  header.members = nlohmann::ordered_json::parse(header.line, nullptr, false);
  return header.members.is_object() ? std::optional<Header>(std::move(header)) : std::nullopt;
}

struct Difference {
  std::string key;
  std::string here;
  std::string there;
};

// The first member that two headers do not share, in whatever order they have them; that of "settings" if it lies
// there.
inline std::optional<Difference> first_difference(const nlohmann::ordered_json& here,
                                                  const nlohmann::ordered_json& there,
                                                  const std::set<std::string>& not_compared) {
  for (const auto* members : {&here, &there}) {
    for (const auto& member : members->items()) {
      const std::string& key = member.key();
      if (not_compared.count(key) > 0) {
        continue;
      }
      if (!here.contains(key) || !there.contains(key)) {
        const std::string absent = "absent";
        return Difference{key, here.contains(key) ? dump_json(here[key]) : absent,
                          there.contains(key) ? dump_json(there[key]) : absent};
      }
      if (key == "settings" && here[key].is_object() && there[key].is_object()) {
        if (auto difference = first_difference(here[key], there[key], not_compared)) {
          return difference;
        }
      } else if (nlohmann::json(here[key]) != nlohmann::json(there[key])) {  // nlohmann::json sorts members
        return Difference{key, dump_json(here[key]), dump_json(there[key])};
      }
    }
  }
  return std::nullopt;
}

inline std::string line_beginning(int64_t index) {
  return fmt::format("{{\"index\":{},", index);
}

// The N of a whole line {"index":N,...}.
inline std::optional<int64_t> index_of(std::string_view line) {
  constexpr std::string_view before = "{\"index\":";
  if (line.substr(0, before.size()) != before || line.back() != '}') {
    return std::nullopt;
  }
  int64_t index = 0;
  const char* end = line.data() + line.size();
  const auto [rest, error] = std::from_chars(line.data() + before.size(), end, index);
  return error == std::errc() && rest != end && *rest == ',' ? std::optional<int64_t>(index) : std::nullopt;
}

struct WholeLines {
  int64_t next = 0;   // the index after the last one's
  off_t bytes = 0;    // of the file up to their end
  bool torn = false;  // the beginning of another line follows
};

// Reads what follows the header. Throws Error(bad_input) where the lines are not those of `range` in order.
inline WholeLines read_lines(LineReader& reader, const IndexRange& range) {
  WholeLines lines{range.first, reader.offset(), false};
  while (const std::optional<Line> line = reader.next()) {
    const std::string beginning = line_beginning(lines.next);
    const bool whole = line->ended && !line->text.empty() && line->text.back() == '}';
    const bool expected = lines.next < range.end() && line->text.substr(0, beginning.size()) == beginning;
    if (!whole && reader.at_end()) {
      lines.torn = true;
      break;
    }
    if (!whole || !expected) {
      const std::string what = lines.next < range.end() ? fmt::format("a whole line that begins with {}", beginning)
                                                        : fmt::format("no line after those of {} samples", range.count);
      fail(ExitCode::bad_input,
           "{}:{}: expected {}; something else has changed the file, so write it anew or to another --output",
           reader.path(), reader.line_number(), what);
    }
    ++lines.next;
    lines.bytes = reader.offset();
  }
  return lines;
}

inline std::string side_path_of(const std::string& path) {
  return path + ".pending";
}

struct SideLines {
  std::map<int64_t, std::string> held;
  off_t bytes = 0;  // of its whole lines
};

// The lines in a side file that are of `range` but not below `next`. It begins with the header of the file it belongs
// to, so that one left by another run, of other settings, counts for nothing. Throws Error(bad_input) where it cannot
// be read.
inline SideLines read_side(const std::string& path, const std::string& header_line, const IndexRange& range,
                           int64_t next) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));  // NOLINT(*-vararg)
  if (!file.is_open()) {
    if (errno == ENOENT || errno == ENAMETOOLONG) {
      return {};
    }
    fail_reading(path, last_error());
  }
  LineReader reader(file.get(), path);
  const std::optional<Line> header = reader.next();
  if (!header || !header->ended || header->text != header_line) {
    return {};
  }
  SideLines lines{{}, reader.offset()};
  for (std::optional<Line> line = reader.next(); line && line->ended; line = reader.next()) {
    lines.bytes = reader.offset();
    const std::optional<int64_t> index = index_of(line->text);
    if (index && *index >= next && *index < range.end()) {
      lines.held.try_emplace(*index, line->text);
    }
  }
  return lines;
}

}  // namespace demask
