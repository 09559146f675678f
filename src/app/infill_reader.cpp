#include "app/infill_reader.h"

namespace demask {
namespace {

constexpr int64_t most_tokens = 1000000;

}  // namespace

bool InfillReader::step(Next from, Next to) {
  if (next_ != from) {
    return false;
  }
  next_ = to;
  return true;
}

bool InfillReader::start_array() {
  return step(Next::list, Next::part) || step(Next::pair, Next::least);
}

bool InfillReader::end_array() {
  return step(Next::part, Next::nothing) || step(Next::end_of_pair, Next::end_of_part);
}

bool InfillReader::start_object() {
  if (!step(Next::part, Next::name)) {
    return false;
  }
  parts_.emplace_back();
  return true;
}

bool InfillReader::end_object() {
  return step(Next::end_of_part, Next::part);
}

bool InfillReader::key(const std::string& name) {
  return (name == "gap" && step(Next::name, Next::pair)) || (name == "masks" && step(Next::name, Next::count));
}

bool InfillReader::text(const std::string& text) {
  if (next_ != Next::part) {
    return false;
  }
  parts_.push_back({text, 0, 0});
  return true;
}

bool InfillReader::number(std::optional<int64_t> value) {
  if (!value || *value < 1 || *value > most_tokens) {
    return false;
  }
  switch (next_) {
    case Next::least:
      parts_.back().least = *value;
      return step(Next::least, Next::most);
    case Next::most:
      parts_.back().most = *value;
      return step(Next::most, Next::end_of_pair);
    case Next::count:
      parts_.back().least = parts_.back().most = *value;
      return step(Next::count, Next::end_of_part);
    default:
      return false;
  }
}

}  // namespace demask
