#include "core/input_file.h"

#include <sstream>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

namespace demask {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::bad_input_message;
using testing::TemporaryFolder;
using testing::write_file;

constexpr InputFileKind kind{"list", "Check --list."};

std::string reason_for(const std::string& path) {
  return bad_input_message([&] { read_input_file(path, kind, 10); });
}

TEST_CASE("A file is read whole up to its limit") {
  const TemporaryFolder folder;
  const std::string bytes(
      "a\0\r\n\xFF"
      "bcdef",
      10);
  write_file(folder / "whole", bytes);
  CHECK(read_input_file(folder / "whole", kind, 10) == bytes);
  write_file(folder / "longer", bytes + "g");
  CHECK_THAT(reason_for(folder / "longer"), ContainsSubstring("it has 11 bytes, more than the 10 allowed"));
}

TEST_CASE("What cannot be read as a file is refused by what it is") {
  const TemporaryFolder folder;
  write_file(folder / "empty", "");
  CHECK_THAT(reason_for(folder / "empty"), ContainsSubstring("is empty. Check --list."));
  CHECK_THAT(reason_for(folder.path()), ContainsSubstring("is a directory, not a file"));
  CHECK_THAT(reason_for("/dev/null"), ContainsSubstring("is not a regular file"));
  CHECK_THAT(reason_for(folder / "none"), ContainsSubstring("list not found: '" + (folder / "none") + "'"));
  CHECK_THAT(reason_for(folder / "none"), ContainsSubstring("Files in '" + folder.path() + "': empty."));
  CHECK_THAT(reason_for(folder / "no/where"), ContainsSubstring("There is no folder"));
}

TEST_CASE("Names of files that are there are shown without control characters") {
  const TemporaryFolder folder;
  write_file(folder / "a\nb\x1b", "x");
  CHECK_THAT(list_neighbours(folder / "none"), ContainsSubstring("a\\nb\\x1b."));
}

std::vector<std::string> lines_of(const std::string& text, size_t limit = 100) {
  std::istringstream stream(text);
  Lines lines(stream, limit);
  std::vector<std::string> found;
  while (lines.next()) {
    found.push_back(lines.text());
  }
  CHECK(lines.number() == static_cast<int64_t>(found.size()));
  return found;
}

TEST_CASE("Lines end in either way, the last with or without an end") {
  CHECK(lines_of("a\nb\r\n\nc").size() == 4);
  CHECK(lines_of("a\nb\r\n\nc") == std::vector<std::string>{"a", "b", "", "c"});
  CHECK(lines_of("a\n") == std::vector<std::string>{"a"});
  CHECK(lines_of("a\r") == std::vector<std::string>{"a\r"});
  CHECK(lines_of("").empty());
  CHECK(lines_of("\xEF\xBB\xBF"
                 "a\n\xEF\xBB\xBF") == std::vector<std::string>{"a", "\xEF\xBB\xBF"});
}

TEST_CASE("Of a line beyond the limit the length is known and the start is kept") {
  std::istringstream stream(std::string(200000, 'a') + "\r\nb");
  Lines lines(stream, 3);
  CHECK(lines.first_byte() == 'a');
  REQUIRE(lines.next());
  CHECK(lines.bytes() == 200000);
  CHECK(lines.text() == "aaa");
  REQUIRE(lines.next());
  CHECK(lines.text() == "b");
  CHECK_FALSE(lines.next());
}

}  // namespace
}  // namespace demask
