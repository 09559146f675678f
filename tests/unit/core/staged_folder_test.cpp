#include "core/staged_folder.h"

#include <filesystem>
#include <stdexcept>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

using Catch::Matchers::ContainsSubstring;
using demask::StagedFolder;
using namespace demask::testing;

namespace {

void write(StagedFolder& folder, const std::string& name, const std::string& content) {
  folder.write(name, [&](const StagedFolder::Write& give) {
    give(content.substr(0, 2));
    give(content.substr(2));
  });
}

}  // namespace

TEST_CASE("a folder is there with its files once it is published, and not before") {
  const TemporaryFolder parent;
  StagedFolder folder("--export", parent / "a/b/");
  write(folder, "x", "content");
  CHECK_FALSE(std::filesystem::exists(parent / "a/b"));
  folder.publish();
  CHECK(read_file(parent / "a/b/x") == "content");
}

TEST_CASE("a folder that is not published leaves nothing") {
  const TemporaryFolder parent;
  {
    StagedFolder folder("--export", parent / "a");
    write(folder, "x", "content");
    CHECK_THROWS_AS(folder.write("y", [](const auto&) { throw std::runtime_error("no more"); }), std::runtime_error);
  }
  CHECK(std::filesystem::is_empty(parent.path()));
}

TEST_CASE("what has the name already is kept, be it there from the start or made meanwhile") {
  const TemporaryFolder parent;
  write_file(parent / "file", "kept");
  CHECK_THAT(message_of([&] { StagedFolder("--export", parent / "file"); }),
             ContainsSubstring("--export=") && ContainsSubstring("there already"));
  CHECK_THAT(message_of([&] { StagedFolder("--export", parent.path()); }), ContainsSubstring("there already"));

  StagedFolder folder("--export", parent / "later");
  write(folder, "x", "content");
  std::filesystem::create_directory(parent / "later");
  write_file(parent / "later/other", "kept");
  CHECK_THAT(message_of([&] { folder.publish(); }), ContainsSubstring("there already"));
  CHECK(read_file(parent / "later/other") == "kept");
}

TEST_CASE("two files of one name, and a folder where none can be made, are errors") {
  const TemporaryFolder parent;
  StagedFolder folder("--export", parent / "a");
  write(folder, "x", "content");
  CHECK_THAT(message_of([&] { write(folder, "x", "content"); }), ContainsSubstring("a/x' cannot be written"));
  write_file(parent / "file", "");
  CHECK_THAT(message_of([&] { StagedFolder("--export", parent / "file/a"); }), ContainsSubstring("cannot be written"));
}
