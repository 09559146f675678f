// Pickles put together by hand: each function gives the opcodes that push one value.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace demask::testing::pickled {

using namespace std::string_literals;

inline std::string little_endian(uint64_t number, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) {
    bytes += static_cast<char>(number >> (8 * i) & 0xff);
  }
  return bytes;
}

inline std::string none() {
  return "N";
}
inline std::string boolean(bool value) {
  return value ? "\x88" : "\x89";
}
inline std::string integer(int64_t value) {
  return "\x8a\x08"s + little_endian(static_cast<uint64_t>(value), 8);
}
inline std::string text(const std::string& value) {
  return "X" + little_endian(value.size(), 4) + value;
}
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

inline std::string joined(const std::vector<std::string>& values) {
  std::string all;
  for (const std::string& value : values) {
    all += value;
  }
  return all;
}

inline std::string tuple(const std::vector<std::string>& items) {
  return "(" + joined(items) + "t";
}
inline std::string list(const std::vector<std::string>& items) {
  return "](" + joined(items) + "e";
}
inline std::string call(const std::string& callee, const std::vector<std::string>& arguments) {
  return callee + tuple(arguments) + "R";
}
inline std::string persistent_id(const std::string& id) {
  return id + "Q";
}

inline std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string all = "}(";
  for (const auto& [key, value] : entries) {
    all += key + value;
  }
  return all + "u";
}

// A dict with text keys.
inline std::string object(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::vector<std::pair<std::string, std::string>> keyed;
  for (const auto& [key, value] : entries) {
    keyed.emplace_back(text(key), value);
  }
  return dict(keyed);
}

inline std::string document(const std::string& value) {
  return "\x80\x02" + value + ".";
}

}  // namespace demask::testing::pickled
