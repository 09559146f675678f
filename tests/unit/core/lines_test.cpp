#include <string>
#include <utility>
#include <vector>

#include "core/input_file.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

// As a slow pipe does.
class OneByteAtATime : public ByteSource {
 public:
  explicit OneByteAtATime(std::string bytes) : bytes_(std::move(bytes)) {}
  size_t read(char* bytes, size_t /*count*/) override {
    if (next_ == bytes_.size()) {
      return 0;
    }
    *bytes = bytes_[next_++];
    return 1;
  }
  bool failed() const override { return false; }
  size_t read_so_far() const { return next_; }

 private:
  std::string bytes_;
  size_t next_ = 0;
};

std::vector<std::string> all_of(const std::string& bytes) {
  OneByteAtATime source(bytes);
  Lines lines(source, 100, LongLine::measured);
  std::vector<std::string> all;
  while (lines.next()) {
    all.push_back(lines.text());
  }
  return all;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("Lines are the same however few bytes come at a time, a byte order mark in parts too") {
  CHECK(all_of("\xEF\xBB\xBF"
               "one\r\n\ntwo") == Texts{"one", "", "two"});
  CHECK(all_of("\xEF\xBBone\n") == Texts{"\xEF\xBBone"});
  CHECK(all_of("\xEF\xBB\xBF").empty());
  CHECK(all_of("\n").size() == 1);
}

TEST_CASE("A line is given as soon as its end is there, and nothing is read beyond it") {
  OneByteAtATime source("ab\ncd");
  Lines lines(source, 100, LongLine::measured);
  REQUIRE(lines.next());
  CHECK(lines.ended());
  CHECK(source.read_so_far() == 3);
  REQUIRE(lines.next());
  CHECK_FALSE(lines.ended());
}

TEST_CASE("The first byte is waited for, and what was read before it is not lost") {
  OneByteAtATime source(
      "\xEF\xBB\xBF"
      "\n \n{\"a\"\n");
  Lines lines(source, 100, LongLine::measured);
  CHECK(lines.first_byte() == '{');
  CHECK(source.read_so_far() == 7);
  Texts all;
  while (lines.next()) {
    all.push_back(lines.text());
  }
  CHECK(all == Texts{"", " ", "{\"a\""});
  OneByteAtATime blank(" \n");
  CHECK_FALSE(Lines(blank, 100, LongLine::measured).first_byte());
}

TEST_CASE("A line that is too long can be cut off at once") {
  OneByteAtATime source(std::string(1000, 'x'));
  Lines lines(source, 10, LongLine::cut_off);
  REQUIRE(lines.next());
  CHECK(lines.bytes() == 11);
  CHECK(lines.text() == std::string(10, 'x'));
  CHECK_FALSE(lines.ended());
}
