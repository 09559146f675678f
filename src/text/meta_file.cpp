#include "text/meta_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/pickle.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "core/utf8.h"
#include "text/character_vocabulary.h"
#include "text/refusal.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t max_meta_bytes = size_t{16} << 20;
constexpr size_t max_token_bytes = 256;  // one text of a pickle may be shared by every id
constexpr int64_t max_id = (int64_t{1} << 20) - 1;

// What either file format says, before anything is believed; the texts belong to the parsed file.
struct Meta {
  std::vector<std::pair<int64_t, std::string_view>> itos;
  std::vector<std::pair<std::string_view, int64_t>> stoi;
  std::optional<int64_t> mask_token_id;
};

[[noreturn]] void refuse_without_itos(const std::string& path, const std::string& keys) {
  refuse_vocabulary(path, fmt::format("it has no 'itos', the text of each token id (keys found: {})", keys));
}

constexpr const char* itos_shape = "expected a list of strings, or a dict from id to string";
constexpr const char* stoi_shape = "expected a dict from string to id";

// --- meta.pkl ---

Meta meta_of_pickle(const PickleValue& root, const std::string& path) {
  if (root.kind != Kind::dict) {
    refuse_vocabulary(path, fmt::format("it is {}; expected a dict with 'itos'", describe(root)));
  }
  const auto expect = [&](const PickleValue& value, Kind kind, const char* where, const char* expected) {
    if (value.kind != kind) {
      refuse_vocabulary(path, fmt::format("{} has {}; {}", where, describe(value), expected));
    }
  };

  Meta meta;
  const PickleValue* itos = find(root, "itos");
  if (itos == nullptr) {
    refuse_without_itos(path, list_keys(root));
  }
  if (itos->kind != Kind::list && itos->kind != Kind::tuple) {
    expect(*itos, Kind::dict, "'itos'", itos_shape);
  }
  const bool is_dict = itos->kind == Kind::dict;
  for (size_t i = 0; i < itos->items.size(); i += is_dict ? 2 : 1) {
    if (is_dict) {
      expect(*itos->items[i], Kind::integer, "'itos'", itos_shape);
    }
    const PickleValue& text = *itos->items[is_dict ? i + 1 : i];
    expect(text, Kind::text, "'itos'", itos_shape);
    meta.itos.emplace_back(is_dict ? itos->items[i]->integer : static_cast<int64_t>(i), text.text);
  }

  if (const PickleValue* stoi = find(root, "stoi")) {
    expect(*stoi, Kind::dict, "'stoi'", stoi_shape);
    for (size_t i = 0; i < stoi->items.size(); i += 2) {
      expect(*stoi->items[i], Kind::text, "'stoi'", stoi_shape);
      expect(*stoi->items[i + 1], Kind::integer, "'stoi'", stoi_shape);
      meta.stoi.emplace_back(stoi->items[i]->text, stoi->items[i + 1]->integer);
    }
  }

  if (const PickleValue* mask = find(root, "mask_token_id"); mask != nullptr && mask->kind != Kind::none) {
    expect(*mask, Kind::integer, "'mask_token_id'", "expected an integer");
    meta.mask_token_id = mask->integer;
  }
  return meta;
}

// --- meta.json ---

using nlohmann::json;

int64_t json_integer(const json& value, const std::string& path, const char* where) {
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  if (!fits) {
    refuse_vocabulary(path, fmt::format("{} has a {} where an integer belongs", where, value.type_name()));
  }
  return value.get<int64_t>();
}

// JSON has no integer keys.
int64_t json_key(const std::string& key, const std::string& path) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) {
    refuse_vocabulary(path, fmt::format("'itos' has the key {}, which is not an integer", quote(key)));
  }
  return id;
}

std::string_view json_text(const json& value, const std::string& path) {
  if (!value.is_string()) {
    refuse_vocabulary(path, fmt::format("'itos' has a {} where a string belongs", value.type_name()));
  }
  return value.get_ref<const std::string&>();
}

json parse_json(const std::string& content, const std::string& path) {
  // Deeper values cost far more memory than they take in the file.
  const auto within_bounds = [&](int depth, json::parse_event_t, const json&) {
    if (depth > 4) {
      refuse_vocabulary(path, "its JSON nests too deep");
    }
    return true;
  };
  try {
    return json::parse(content, within_bounds);
  } catch (const json::exception& error) {
    refuse_vocabulary(path, fmt::format("it is neither a pickle nor JSON: {}", json_error_reason(error.what())));
  }
}

Meta meta_of_json(const json& root, const std::string& path) {
  if (!root.is_object()) {
    refuse_vocabulary(path, fmt::format("it is a JSON {}; expected an object with 'itos'", root.type_name()));
  }
  const auto member = [&](const char* key) {
    const auto found = root.find(key);
    return found == root.end() || found->is_null() ? nullptr : &*found;
  };

  Meta meta;
  const json* itos = member("itos");
  if (itos == nullptr) {
    std::vector<std::string> keys;
    for (const auto& entry : root.items()) {
      keys.push_back(quote(entry.key()));
    }
    refuse_without_itos(
        path, fmt::format("{}", fmt::join(keys.begin(),
                                          keys.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(keys.size(), 12)),
                                          ", ")));
  }
  if (itos->is_array()) {
    for (const json& text : *itos) {
      meta.itos.emplace_back(static_cast<int64_t>(meta.itos.size()), json_text(text, path));
    }
  } else if (itos->is_object()) {
    for (const auto& entry : itos->items()) {
      meta.itos.emplace_back(json_key(entry.key(), path), json_text(entry.value(), path));
    }
  } else {
    refuse_vocabulary(path, fmt::format("'itos' is a {}; {}", itos->type_name(), itos_shape));
  }

  if (const json* stoi = member("stoi")) {
    if (!stoi->is_object()) {
      refuse_vocabulary(path, fmt::format("'stoi' is a {}; {}", stoi->type_name(), stoi_shape));
    }
    for (const auto& entry : stoi->items()) {
      meta.stoi.emplace_back(entry.key(), json_integer(entry.value(), path, "'stoi'"));
    }
  }
  if (const json* mask = member("mask_token_id")) {
    meta.mask_token_id = json_integer(*mask, path, "'mask_token_id'");
  }
  return meta;
}

// --- either ---

std::vector<std::optional<std::string>> token_table(const Meta& meta, const std::string& path) {
  if (meta.itos.empty()) {
    refuse_vocabulary(path, "its 'itos' is empty");
  }
  std::vector<std::optional<std::string>> tokens;
  for (const auto& [id, text] : meta.itos) {
    if (id < 0 || id > max_id) {
      refuse_vocabulary(path, fmt::format("'itos' has the id {}; ids are 0 to {}", id, max_id));
    }
    if (text.size() > max_token_bytes) {
      refuse_vocabulary(path, fmt::format("the text of id {} has {} bytes, more than the {} allowed", id, text.size(),
                                          max_token_bytes));
    }
    if (!is_utf8(text)) {
      refuse_vocabulary(path, fmt::format("the text of id {} is not UTF-8", id));
    }
    const auto index = static_cast<size_t>(id);
    if (index >= tokens.size()) {
      tokens.resize(index + 1);
    }
    tokens[index] = text;
  }
  for (const auto& [text, id] : meta.stoi) {
    const bool agrees = id >= 0 && id < static_cast<int64_t>(tokens.size()) && tokens[static_cast<size_t>(id)] == text;
    if (!agrees) {
      refuse_vocabulary(path, fmt::format("'itos' and 'stoi' disagree: 'stoi' has {} for the id {}", quote(text), id));
    }
  }
  return tokens;
}

std::unique_ptr<Vocabulary> make_vocabulary(const Meta& meta, const std::string& path) {
  if (meta.mask_token_id && (*meta.mask_token_id < 0 || *meta.mask_token_id > max_id)) {
    refuse_vocabulary(path, fmt::format("'mask_token_id' is {}; ids are 0 to {}", *meta.mask_token_id, max_id));
  }
  return std::make_unique<CharacterVocabulary>(token_table(meta, path), meta.mask_token_id);
}

}  // namespace

std::unique_ptr<Vocabulary> read_meta_file(const std::string& content, const std::string& path) {
  if (content.size() > max_meta_bytes) {
    refuse_vocabulary(path, fmt::format("it has {} bytes, more than the {} that a vocabulary of characters may have",
                                        content.size(), max_meta_bytes));
  }
  constexpr char pickle_start = '\x80';
  if (starts_with(content, std::string_view(&pickle_start, 1))) {
    const Pickle pickle(content, fmt::format("vocabulary '{}'", path));
    return make_vocabulary(meta_of_pickle(pickle.root(), path), path);
  }
  const json root = parse_json(content, path);
  return make_vocabulary(meta_of_json(root, path), path);
}

}  // namespace demask
