// What is typed at a view, out of the bytes that a terminal sends for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

struct Key {
  enum class Name { character, up, down, page_up, page_down, home, end, left, right, other };
  Name name = Name::other;
  char character = 0;  // as typed, where it is one of ASCII; Tab is '\t'
};

// Bytes may come in pieces: an escape sequence that is cut off waits for its rest.
class KeyReader {
 public:
  std::vector<Key> read(std::string_view bytes);

 private:
  std::string waiting_;
};

}  // namespace demask
