#include "core/sha256.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

namespace demask {
namespace {

std::string sha256_of(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

// Bytes of every value, in no short period.
std::string mixed_bytes(size_t count) {
  std::string bytes;
  uint32_t state = 1;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    bytes.push_back(static_cast<char>(state >> 24));
  }
  return bytes;
}

TEST_CASE("SHA-256 agrees with the examples of the standard") {
  CHECK(sha256_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(
      sha256_of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopq"
                "rstnopqrstu") == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK(sha256_of(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on where its input is divided") {
  const std::string text = mixed_bytes(200);
  const std::string whole = sha256_of(text);
  for (size_t split = 0; split <= text.size(); ++split) {
    Sha256 hash;
    hash.update(std::string_view(text).substr(0, split));
    hash.update(std::string_view(text).substr(split));
    REQUIRE(hash.hex() == whole);
  }
  Sha256 hash;
  for (const char byte : text) {
    hash.update({&byte, 1});
  }
  CHECK(hash.hex() == whole);
}

TEST_CASE("SHA-256 by the machine's instructions is that of any machine") {
  if (!sha256::has_instructions()) {
    return;  // this machine has none
  }
  const std::string bytes = mixed_bytes(20 * sha256::block_bytes + 1);
  for (const size_t count : {0U, 1U, 2U, 20U}) {
    // Off by one byte from any boundary.
    const auto* blocks = reinterpret_cast<const unsigned char*>(bytes.data()) + 1;
    sha256::State portable{1, 2, 3, 4, 5, 6, 7, 8}, own = portable;
    sha256::compress_portably(portable, blocks, count);
    sha256::compress_by_instructions(own, blocks, count);
    CHECK(own == portable);
  }
}

TEST_CASE("asking for the digest does not end the input") {
  Sha256 hash;
  hash.update("a");
  CHECK(hash.hex() == sha256_of("a"));
  hash.update("bc");
  CHECK(hash.hex() == sha256_of("abc"));
}

TEST_CASE("SHA-256 of files of every length around a block and a piece is what sha256sum says") {
  const testing::TemporaryFolder folder;
  std::vector<std::string> command{"sha256sum"};
  for (size_t length = 0; length < 130; ++length) {
    command.push_back(folder / std::to_string(length));
    testing::write_file(command.back(), mixed_bytes(length));
  }
  for (const size_t length : {1048575U, 1048576U, 1048577U, 3000000U}) {
    command.push_back(folder / std::to_string(length));
    testing::write_file(command.back(), mixed_bytes(length));
  }
  std::string expected;
  for (size_t i = 1; i < command.size(); ++i) {
    expected += sha256_of_file(command[i]) + "  " + command[i] + "\n";
  }
  CHECK(testing::run_process(command).out == expected);
}

TEST_CASE("SHA-256 of several files is that of what sha256sum prints for them") {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "a", "abc");
  testing::write_file(folder / "b", "");
  CHECK(sha256_of_files({folder / "a"}) == sha256_of_file(folder / "a"));
  // printf abc > a; : > b; sha256sum a b | sha256sum
  CHECK(sha256_of_files({folder / "a", folder / "b"}) ==
        "09c7e0b8a02d027d95ec0375a600ed4ad4d6b26a1c93f16d9150cab5fec761a6");
  CHECK(sha256_of_large_files({folder / "a", folder / "b"}) == sha256_of_files({folder / "a", folder / "b"}));
}

TEST_CASE("Large files are told apart by a sample of every MiB and their length") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "large";
  testing::write_file(path, "");
  const auto resize = [&](uint64_t bytes) { std::filesystem::resize_file(path, bytes); };  // with holes, on no disk
  const auto put = [&](uint64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset)).put('x');
  };
  resize(wholly_hashed_bytes + 1000);
  const std::string digest = sha256_of_large_files({path});
  CHECK(digest == sha256_of_large_files({path}));
  resize(wholly_hashed_bytes + 1001);
  CHECK(digest != sha256_of_large_files({path}));
  resize(wholly_hashed_bytes + 1000);
  REQUIRE(digest == sha256_of_large_files({path}));
  std::string before = digest;
  for (const uint64_t offset : {uint64_t{0}, uint64_t{500} << 20, wholly_hashed_bytes + 999}) {
    put(offset);
    const std::string after = sha256_of_large_files({path});
    CHECK(after != before);
    before = after;
  }
}

TEST_CASE("SHA-256 of a file that cannot be read is an error that names it") {
  const testing::TemporaryFolder folder;
  const std::string missing = folder / "missing.pt";
  CHECK(testing::bad_input_message([&missing] { sha256_of_file(missing); }) ==
        "the file '" + missing + "' cannot be read: No such file or directory");
  CHECK(testing::bad_input_message([&folder] { sha256_of_file(folder.path()); }) ==
        "the file '" + folder.path() + "' cannot be read: Is a directory");
}

}  // namespace
}  // namespace demask
