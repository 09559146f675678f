#include "core/temporary_files.h"

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask {
namespace {

bool exists(const std::string& path) {
  try {
    testing::read_file(path);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

TEST_CASE("registered files are removed, others and unregistered ones stay") {
  const testing::TemporaryFolder folder;
  for (const char* name : {"kept", "finished", "unfinished"}) {
    testing::write_file(folder / name, "text");
  }
  register_temporary(folder / "finished");
  register_temporary(folder / "unfinished");
  unregister_temporary(folder / "finished");
  remove_temporaries();
  unregister_temporary(folder / "unfinished");
  CHECK(exists(folder / "kept"));
  CHECK(exists(folder / "finished"));
  CHECK_FALSE(exists(folder / "unfinished"));
}

TEST_CASE("a registered folder is removed with the registered files in it, and stays where it holds others") {
  const testing::TemporaryFolder folder;
  for (const char* name : {"unfinished", "shared"}) {
    std::filesystem::create_directory(folder / name);
    register_temporary(folder / name);
    const std::string file = folder / name + "/file";
    testing::write_file(file, "text");
    register_temporary(file);
  }
  testing::write_file(folder / "shared/kept", "text");
  remove_temporaries();
  for (const char* name : {"unfinished", "shared"}) {
    unregister_temporary(folder / name);
    unregister_temporary(folder / name + "/file");
  }
  CHECK_FALSE(std::filesystem::exists(folder / "unfinished"));
  CHECK(exists(folder / "shared/kept"));
}

TEST_CASE("a place for a temporary file can be used again, and their number is limited by an error") {
  std::vector<std::string> paths;
  const auto take_all = [&paths] {
    for (int i = 0; i < 100; ++i) {
      paths.push_back("/nonexistent/" + std::to_string(i));
      register_temporary(paths.back());
    }
  };
  CHECK_THROWS_AS(take_all(), Error);
  const size_t taken = paths.size();
  for (const std::string& path : paths) {
    unregister_temporary(path);
  }
  paths.clear();
  CHECK_THROWS_AS(take_all(), Error);
  CHECK(paths.size() == taken);
  for (const std::string& path : paths) {
    unregister_temporary(path);
  }
}

TEST_CASE("a path too long for the file system is an error, not a truncated path") {
  CHECK_THROWS_AS(register_temporary(std::string(5000, 'x')), Error);
}

}  // namespace
}  // namespace demask
