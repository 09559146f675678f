#include "output/keys.h"

#include <map>

namespace demask {
namespace {

// Of a control sequence without its ESC [, or of ESC O with one letter.
Key::Name name_of(std::string_view sequence) {
  static const std::map<std::string_view, Key::Name> names = {
      {"A", Key::Name::up},       {"B", Key::Name::down},       {"C", Key::Name::right}, {"D", Key::Name::left},
      {"5~", Key::Name::page_up}, {"6~", Key::Name::page_down}, {"H", Key::Name::home},  {"1~", Key::Name::home},
      {"7~", Key::Name::home},    {"F", Key::Name::end},        {"4~", Key::Name::end},  {"8~", Key::Name::end}};
  const auto found = names.find(sequence);
  return found == names.end() ? Key::Name::other : found->second;
}

}  // namespace

std::vector<Key> KeyReader::read(std::string_view bytes) {
  constexpr char escape = '\x1b';
  constexpr size_t longest_sequence = 16;  // more than any key sends: what is longer is no key
  waiting_ += bytes;
  std::vector<Key> keys;
  size_t start = 0;
  while (start < waiting_.size()) {
    if (waiting_[start] != escape) {
      keys.push_back({Key::Name::character, waiting_[start++]});
      continue;
    }
    if (start + 1 == waiting_.size()) {
      break;
    }
    const char kind = waiting_[start + 1];
    if (kind != '[' && kind != 'O') {
      start += kind == escape ? 1 : 2;  // Alt with a key
      continue;
    }
    size_t end = start + 2;
    while (end < waiting_.size() && (waiting_[end] < '@' || waiting_[end] > '~')) {
      ++end;
    }
    if (end == waiting_.size()) {
      if (end - start > longest_sequence) {
        start = end;
      }
      break;
    }
    keys.push_back({name_of(std::string_view(waiting_).substr(start + 2, end - start - 1)), 0});
    start = end + 1;
  }
  waiting_.erase(0, start);
  return keys;
}

}  // namespace demask
