#include "core/sha256.h"

#include <endian.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/sha256_blocks.h"

namespace demask {
namespace {

using Words = std::array<uint32_t, 16>;  // the last 16 of the message schedule, word t in place t % 16

constexpr uint32_t rotated(uint32_t word, unsigned by) {
  return word >> by | word << (32 - by);
}

uint32_t big_endian_word(const unsigned char* bytes) {
  uint32_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return be32toh(word);
}

// Replaces the word 16 rounds back by its successor in the schedule.
inline uint32_t next_word(Words& words, size_t t) {
  const uint32_t near = words[(t + 14) % 16];
  const uint32_t far = words[(t + 1) % 16];
  return words[t % 16] += (rotated(near, 17) ^ rotated(near, 19) ^ near >> 10) + words[(t + 9) % 16] +
                          (rotated(far, 7) ^ rotated(far, 18) ^ far >> 3);
}

// One round. Instead of moving all eight variables along, the caller names them one place further each time.
inline void round(uint32_t a, uint32_t b, uint32_t c, uint32_t& d, uint32_t e, uint32_t f, uint32_t g, uint32_t& h,
                  uint32_t input) {
  h += (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + (g ^ (e & (f ^ g))) + input;
  d += h;
  h += (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + (a & b) + (c & (a ^ b));
}

// Eight rounds, after which every variable is back in its place; `input(i)` is that of round i of them.
template <typename Input>
inline void eight_rounds(sha256::State& v, const Input& input) {
  auto& [a, b, c, d, e, f, g, h] = v;
  round(a, b, c, d, e, f, g, h, input(0));
  round(h, a, b, c, d, e, f, g, input(1));
  round(g, h, a, b, c, d, e, f, input(2));
  round(f, g, h, a, b, c, d, e, input(3));
  round(e, f, g, h, a, b, c, d, input(4));
  round(d, e, f, g, h, a, b, c, input(5));
  round(c, d, e, f, g, h, a, b, input(6));
  round(b, c, d, e, f, g, h, a, input(7));
}

template <typename Input>
inline void sixteen_rounds(sha256::State& variables, const Input& input) {
  eight_rounds(variables, input);
  eight_rounds(variables, [&input](size_t i) { return input(i + 8); });
}

}  // namespace

void sha256::compress_portably(State& state, const unsigned char* blocks, size_t count) {
  for (; count > 0; --count, blocks += block_bytes) {
    Words words;
    State variables = state;
    sixteen_rounds(variables, [&words, blocks](size_t i) {
      words[i] = big_endian_word(blocks + 4 * i);
      return round_constants[i] + words[i];
    });
    for (size_t first = 16; first < 64; first += 16) {
      sixteen_rounds(variables, [&words, first](size_t i) { return round_constants[first + i] + next_word(words, i); });
    }
    for (size_t i = 0; i < state.size(); ++i) {
      state[i] += variables[i];
    }
  }
}

void Sha256::compress(const unsigned char* blocks, size_t count) {
  static const bool instructions = sha256::has_instructions();
  (instructions ? sha256::compress_by_instructions : sha256::compress_portably)(state_, blocks, count);
}

void Sha256::update(std::string_view bytes) {
  const size_t waiting = length_ % block_bytes;
  length_ += bytes.size();
  if (waiting > 0) {
    const size_t taken = std::min(bytes.size(), block_bytes - waiting);
    std::copy_n(bytes.begin(), taken, block_.begin() + static_cast<std::ptrdiff_t>(waiting));
    bytes.remove_prefix(taken);
    if (waiting + taken < block_bytes) {
      return;
    }
    compress(block_.data(), 1);
  }
  compress(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size() / block_bytes);
  bytes.remove_prefix(bytes.size() / block_bytes * block_bytes);
  std::copy(bytes.begin(), bytes.end(), block_.begin());
}

std::string Sha256::hex() const {
  // A bit 1, zeros up to the last eight bytes of a block, and there the length in bits.
  const size_t zeros = (2 * block_bytes - 9 - length_ % block_bytes) % block_bytes;
  std::string padding(1 + zeros, '\0');
  padding.front() = '\x80';
  for (unsigned shift = 64; shift > 0; shift -= 8) {
    padding.push_back(static_cast<char>(8 * length_ >> (shift - 8) & 0xFF));
  }
  Sha256 padded = *this;
  padded.update(padding);
  std::string digits;
  for (const uint32_t word : padded.state_) {
    digits += fmt::format("{:08x}", word);
  }
  return digits;
}

namespace {

constexpr size_t piece_bytes = size_t{1} << 20;
constexpr size_t sample_bytes = size_t{16} << 10;

// An open file, whose errors name it.
class HashedFile {
 public:
  explicit HashedFile(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) {
      refuse(errno);
    }
  }
  HashedFile(const HashedFile&) = delete;
  HashedFile& operator=(const HashedFile&) = delete;
  ~HashedFile() { ::close(file_); }

  // Adds up to `count` bytes from `offset` on to the hash; how many there were.
  size_t add(Sha256& hash, uint64_t offset, size_t count) {
    piece_.resize(std::max(piece_.size(), count));
    for (;;) {
      const ssize_t there = ::pread(file_, piece_.data(), count, static_cast<off_t>(offset));
      if (there >= 0) {
        hash.update({piece_.data(), static_cast<size_t>(there)});
        return static_cast<size_t>(there);
      }
      if (errno != EINTR) {
        refuse(errno);
      }
    }
  }

 private:
  [[noreturn]] void refuse(int error) const {
    fail(ExitCode::bad_input, "the file '{}' cannot be read: {}", path_, std::generic_category().message(error));
  }

  const std::string& path_;
  int file_;
  std::vector<char> piece_;
};

std::string sha256_of_samples(const std::string& path, uint64_t bytes) {
  HashedFile file(path);
  Sha256 hash;
  hash.update(fmt::format("{}\n", bytes));
  for (uint64_t offset = 0; offset < bytes; offset += piece_bytes) {
    file.add(hash, offset, sample_bytes);
  }
  file.add(hash, bytes - std::min<uint64_t>(bytes, sample_bytes), sample_bytes);
  return hash.hex();
}

template <typename HashOne>
std::string sha256_of_each(const std::vector<std::string>& paths, const HashOne& hash_one) {
  if (paths.size() == 1) {
    return hash_one(paths.front());
  }
  Sha256 hash;
  for (const std::string& path : paths) {
    hash.update(fmt::format("{}  {}\n", hash_one(path), std::filesystem::path(path).filename().string()));
  }
  return hash.hex();
}

}  // namespace

std::string sha256_of_file(const std::string& path) {
  HashedFile file(path);
  Sha256 hash;
  for (uint64_t offset = 0;;) {
    const size_t count = file.add(hash, offset, piece_bytes);
    if (count == 0) {
      return hash.hex();
    }
    offset += count;
  }
}

std::string sha256_of_files(const std::vector<std::string>& paths) {
  return sha256_of_each(paths, sha256_of_file);
}

std::string sha256_of_large_files(const std::vector<std::string>& paths) {
  const auto bytes_of = [](const std::string& path) {
    std::error_code unknown;
    const uintmax_t bytes = std::filesystem::file_size(path, unknown);
    return unknown ? 0 : static_cast<uint64_t>(bytes);
  };
  uint64_t total = 0;
  for (const std::string& path : paths) {
    total += bytes_of(path);
  }
  if (total <= wholly_hashed_bytes) {
    return sha256_of_files(paths);
  }
  return sha256_of_each(paths, [&](const std::string& path) { return sha256_of_samples(path, bytes_of(path)); });
}

}  // namespace demask
