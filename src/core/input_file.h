// What is asked of every input file before it is read, and reading it whole or by lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace demask {

// How messages speak of a kind of file: "checkpoint", "Check --out_dir and --checkpoint_name."
struct InputFileKind {
  const char* what;
  const char* advice;
};

// "Files in 'out': a.pt, b.pt." for the folder that `path` should have been in.
std::string list_neighbours(const std::filesystem::path& path);

// Opens `path` and sets `size` to its length in bytes.
// Throws Error(bad_input): not there (listing what is), not a regular file, empty, or not readable.
std::ifstream open_input_file(const std::string& path, const InputFileKind& kind, uint64_t& size);

// The bytes of a file. Throws as open_input_file does, and Error(bad_input) where it is longer than `max_bytes`.
std::string read_input_file(const std::string& path, const InputFileKind& kind, uint64_t max_bytes);

// Bytes as they come.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Waits until there is a byte and gives at most `count` of those that are there; none at the end.
  virtual size_t read(char* bytes, size_t count) = 0;
  // Whether the end was one by an error.
  virtual bool failed() const = 0;
};

// What becomes of a line that is longer than any may be.
enum class LongLine {
  measured,  // it is read to its end, however far that is
  cut_off,   // it is given as soon as it is too long, so that a line without an end is told of
};

// The lines of a stream without their ends ("\n" or "\r\n") and without a byte order mark, read in pieces so that one
// of any length costs little memory: of a longer line than `max_line_bytes`, no more is kept.
class Lines {
 public:
  Lines(std::istream& in, size_t max_line_bytes);
  // The source must outlive the lines.
  Lines(ByteSource& source, size_t max_line_bytes, LongLine long_line);

  // The first byte other than blanks, of the first 64 KiB: reads until it is there, or until the end. Empty where there
  // is none. To be asked before next() is.
  std::optional<char> first_byte();

  // Goes on to the next line. False where there are no more. A last line needs no newline, and a last newline begins
  // no line.
  bool next();

  int64_t number() const { return number_; }         // from 1
  size_t bytes() const { return bytes_; }            // of the line, as far as it was read
  bool ended() const { return ended_; }              // by a newline; else the input ended, or it was cut off
  const std::string& text() const { return text_; }  // its first max_line_bytes
  bool failed() const { return source_.failed(); }

 private:
  bool read_piece();
  bool read_behind_rest();

  std::unique_ptr<ByteSource> own_;  // where lines of a std::istream were asked for
  ByteSource& source_;
  size_t max_line_bytes_;
  LongLine long_line_;
  std::string piece_;
  std::string_view rest_;  // what of the piece is not yet in a line
  std::string text_;
  size_t bytes_ = 0;
  bool ended_ = false;
  int64_t number_ = 0;
};

}  // namespace demask
