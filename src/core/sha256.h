// SHA-256 (FIPS 180-4), which tells whether two runs used the same checkpoint whatever their files are called.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/sha256_blocks.h"

namespace demask {

// Takes the bytes in pieces of any size.
class Sha256 {
 public:
  void update(std::string_view bytes);
  // The digest of all bytes so far, as 64 lower-case digits.
  std::string hex() const;

 private:
  static constexpr size_t block_bytes = sha256::block_bytes;

  void compress(const unsigned char* blocks, size_t count);

  sha256::State state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, block_bytes> block_{};  // the first length_ % 64 bytes wait for the rest of their block
  uint64_t length_ = 0;                             // bytes so far
};

// Reads the file in pieces. Throws Error(bad_input) that names the path where it cannot be read.
std::string sha256_of_file(const std::string& path);

// Of one file its own digest; of several, that of what `sha256sum` prints for them in this order, named without their
// folders. Throws as sha256_of_file.
std::string sha256_of_files(const std::vector<std::string>& paths);

// Files that together have more bytes than these are told apart by samples in place of all they hold, since reading
// them would take longer than loading them: of each its length, the first 16 KiB of every MiB, and the last 16 KiB. So
// every tensor of a MiB is looked at, and another training of a model is another digest; one changed number may not be.
inline constexpr uint64_t wholly_hashed_bytes = uint64_t{1} << 30;

// As sha256_of_files up to wholly_hashed_bytes, else with samples of each file in place of the file.
std::string sha256_of_large_files(const std::vector<std::string>& paths);

}  // namespace demask
