#include "core/overwriting.h"

#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

using namespace demask;

TEST_CASE("Two names are one file where either is a link to the other, or neither is there and they are equal") {
  const testing::TemporaryFolder folder;
  const std::string file = folder / "file", other = folder / "other";
  testing::write_file(file, "1");
  testing::write_file(other, "1");
  std::filesystem::create_symlink(file, folder / "soft");
  std::filesystem::create_hard_link(file, folder / "hard");
  CHECK(are_one_file(file, folder / "soft"));
  CHECK(are_one_file(folder / "hard", file));
  CHECK(are_one_file(file, folder.path() + "/./file"));
  CHECK(are_one_file(folder / "new", folder / "new"));
  CHECK_FALSE(are_one_file(file, other));
  CHECK_FALSE(are_one_file(folder / "new", file));
}

TEST_CASE("A device is written by whoever likes") {
  CHECK_FALSE(are_one_file("/dev/null", "/dev/null"));
}

TEST_CASE("A file that is read is not written, and the message names the key") {
  const testing::TemporaryFolder folder;
  const std::string file = folder / "model.pt";
  testing::write_file(file, "1");
  CHECK(testing::message_of([&] {
          check_overwrites_none("trace", file, {"a", file});
        }) == "trace='" + file + "' is an input of this run and would be overwritten. Name another file.");
  CHECK(testing::message_of([&] { check_overwrites_none("trace", folder / "b", {"a", file}); }) == "no error");
}
