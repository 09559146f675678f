#include "text/tokenizer_sax.h"

#include <fmt/format.h>

#include <utility>

#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using nlohmann::json;

// Far beyond any tokenizer's, and little memory.
constexpr size_t max_depth = 64;
constexpr size_t max_values = 200'000;

}  // namespace

TokenizerSax::TokenizerSax(TokenizerBuilder& builder, bool vocabulary_only)
    : builder_(builder), place_(vocabulary_only ? Place::vocabulary : Place::rest) {}

void TokenizerSax::refuse_value(const char* where, const char* expected, const json& value) const {
  builder_.refuse(fmt::format("{} has a {} where {} belongs", where, value.type_name(), expected));
}

bool TokenizerSax::at(const char* first, const char* second) const {
  const size_t levels = second == nullptr ? 1 : 2;
  return depth_ == levels && keys_.size() >= levels && keys_[0] == first && (levels == 1 || keys_[1] == second);
}

json& TokenizerSax::put(json value) {
  if (++values_ > max_values) {
    builder_.refuse(fmt::format("it has more than {} values besides pieces, merges and added tokens", max_values));
  }
  if (open_.empty()) {
    return rest_ = std::move(value);
  }
  json& container = *open_.back();
  if (container.is_array()) {
    container.push_back(std::move(value));
    return container.back();
  }
  return container[keys_[depth_ - 1]] = std::move(value);
}

bool TokenizerSax::take(json value) {
  switch (place_) {
    case Place::rest:
      put(std::move(value));
      break;
    case Place::skipped:
      break;
    case Place::vocabulary:
      if (depth_ == 0) {
        refuse_value("the file", "an object", value);
      }
      if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
        refuse_value(fmt::format("the piece {}", quote(key_)).c_str(), "an id", value);
      }
      builder_.add_piece(key_, value.get<int64_t>());
      break;
    case Place::merges:
      if (!value.is_string()) {
        refuse_value("'merges'", "a string or a pair of strings", value);
      }
      builder_.add_merge(value.get_ref<const std::string&>());
      break;
    case Place::merge_pair:
      if (!value.is_string() || pair_.size() == 2) {
        refuse_value("a merge", "one of two strings", value);
      }
      pair_.push_back(value.get<std::string>());
      break;
    case Place::added:
      refuse_value("'added_tokens'", "an object", value);
    case Place::added_token:
      take_token_member(value);
      break;
  }
  return true;
}

void TokenizerSax::take_token_member(const json& value) {
  if (key_ == "id") {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
      refuse_value("'id' of an added token", "an id", value);
    }
    token_.id = value.get<int64_t>();
    has_id_ = true;
  } else if (key_ == "content") {
    if (!value.is_string()) {
      refuse_value("'content' of an added token", "a string", value);
    }
    token_.content = value.get<std::string>();
    has_content_ = true;
  } else {
    const std::pair<const char*, bool*> flags[] = {{"special", &token_.special},
                                                   {"single_word", &token_.single_word},
                                                   {"lstrip", &token_.lstrip},
                                                   {"rstrip", &token_.rstrip},
                                                   {"normalized", &token_.normalized}};
    for (const auto& [name, flag] : flags) {
      if (key_ == name) {
        if (!value.is_boolean()) {
          refuse_value(fmt::format("'{}' of an added token", name).c_str(), "true or false", value);
        }
        *flag = value.get<bool>();
      }
    }
  }
}

void TokenizerSax::start(json container) {
  const bool is_object = container.is_object();
  if (depth_ == max_depth) {
    builder_.refuse("its JSON nests too deep");
  }
  switch (place_) {
    case Place::rest:
      if (at("model", "vocab")) {
        place_ = is_object ? Place::vocabulary : Place::skipped;
        skipped_above_ = depth_;
      } else if (at("model", "merges") && !is_object) {
        place_ = Place::merges;
        has_merges_ = true;
      } else if (at("added_tokens", nullptr) && !is_object) {
        place_ = Place::added;
      } else {
        open_.push_back(&put(std::move(container)));
      }
      break;
    case Place::skipped:
      break;
    case Place::vocabulary:
      if (depth_ > 0) {
        refuse_value(fmt::format("the piece {}", quote(key_)).c_str(), "an id", container);
      }
      if (!is_object) {
        refuse_value("the file", "an object", container);
      }
      break;
    case Place::merges:
      if (is_object) {
        refuse_value("'merges'", "a string or a pair of strings", container);
      }
      place_ = Place::merge_pair;
      pair_.clear();
      break;
    case Place::added:
      if (!is_object) {
        refuse_value("'added_tokens'", "an object", container);
      }
      place_ = Place::added_token;
      token_ = AddedToken();
      has_id_ = has_content_ = false;
      break;
    case Place::merge_pair:
      refuse_value("a merge", "a string", container);
    case Place::added_token:
      refuse_value("an added token", "a simple value", container);
  }
  ++depth_;
  if (keys_.size() < depth_) {
    keys_.resize(depth_);
  }
}

void TokenizerSax::end() {
  --depth_;
  switch (place_) {
    case Place::rest:
      open_.pop_back();
      break;
    case Place::skipped:
      place_ = depth_ == skipped_above_ ? Place::rest : place_;
      break;
    case Place::vocabulary:
    case Place::merges:
    case Place::added:
      place_ = Place::rest;
      break;
    case Place::merge_pair:
      if (pair_.size() != 2) {
        builder_.refuse("a merge has less than two pieces");
      }
      builder_.add_merge(pair_[0], pair_[1]);
      place_ = Place::merges;
      break;
    case Place::added_token:
      if (!has_id_ || !has_content_) {
        builder_.refuse("an added token has no 'id' or no 'content'");
      }
      builder_.add_token(std::move(token_));
      place_ = Place::added;
      break;
  }
}

bool TokenizerSax::key(string_t& value) {
  if (place_ == Place::rest) {
    keys_[depth_ - 1] = value;
  }
  key_ = std::move(value);
  return true;
}

bool TokenizerSax::null() {
  return take(nullptr);
}
bool TokenizerSax::boolean(bool value) {
  return take(value);
}
bool TokenizerSax::number_integer(number_integer_t value) {
  return take(value);
}
bool TokenizerSax::number_unsigned(number_unsigned_t value) {
  return take(value);
}
bool TokenizerSax::number_float(number_float_t value, const string_t& /*text*/) {
  return take(value);
}
bool TokenizerSax::string(string_t& value) {
  return take(std::move(value));
}
bool TokenizerSax::binary(binary_t& /*value*/) {
  return false;
}

bool TokenizerSax::start_object(size_t /*size*/) {
  start(json::object());
  return true;
}

bool TokenizerSax::end_object() {
  end();
  return true;
}

bool TokenizerSax::start_array(size_t /*size*/) {
  start(json::array());
  return true;
}

bool TokenizerSax::end_array() {
  end();
  return true;
}

bool TokenizerSax::parse_error(size_t /*position*/, const std::string& /*token*/, const json::exception& error) {
  builder_.refuse(fmt::format("it cannot be read as JSON: {}", json_error_reason(error.what())));
}

}  // namespace demask
