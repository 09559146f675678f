#include "text/tokenizer_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/input_file.h"
#include "core/json.h"
#include "core/text.h"
#include "text/refusal.h"

namespace demask {
namespace {

using nlohmann::json;

constexpr InputFileKind settings_file{"file of a tokenizer", "It lies beside the vocabulary: mend it or take it away."};
constexpr uint64_t max_settings_bytes = uint64_t{16} << 20;
constexpr int max_settings_depth = 16;

// The object in a file; nothing where there is no such file.
std::optional<json> read_object(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    return std::nullopt;
  }
  const std::string content = read_input_file(path, settings_file, max_settings_bytes);
  const auto within_bounds = [&](int depth, json::parse_event_t, const json&) {
    if (depth > max_settings_depth) {
      refuse_vocabulary(path, "its JSON nests too deep");
    }
    return true;
  };
  try {
    json root = json::parse(content, within_bounds);
    if (!root.is_object()) {
      refuse_vocabulary(path, fmt::format("it is a JSON {}; expected an object", root.type_name()));
    }
    return root;
  } catch (const json::exception& error) {
    refuse_vocabulary(path, fmt::format("it cannot be read as JSON: {}", json_error_reason(error.what())));
  }
}

// A token's text, which stands there as such or with flags.
std::optional<std::string> text_of_token(const json& value) {
  const json* text = &value;
  if (value.is_object()) {
    const auto content = value.find("content");
    if (content == value.end()) {
      return std::nullopt;
    }
    text = &*content;
  }
  return text->is_string() ? std::optional(text->get<std::string>()) : std::nullopt;
}

void take_names(const json& root, TokenNames& names) {
  for (const auto& entry : root.items()) {
    const bool is_list = entry.key() == "additional_special_tokens" && entry.value().is_array();
    if (is_list) {
      for (const json& value : entry.value()) {
        if (auto text = text_of_token(value)) {
          names.special.push_back(*std::move(text));
        }
      }
    } else if (ends_with(entry.key(), "_token")) {
      const std::optional<std::string> text = text_of_token(entry.value());
      if (!text) {
        continue;
      }
      names.special.push_back(*text);
      if (entry.key() == "mask_token" && !names.mask) {
        names.mask = text;
      } else if (entry.key() == "eos_token" && !names.end_of_text) {
        names.end_of_text = text;
      }
    }
  }
}

int64_t id_of_key(const std::string& key, const std::string& path) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) {
    refuse_vocabulary(path, fmt::format("'added_tokens_decoder' has the key {}, which is not an id", quote(key)));
  }
  return id;
}

void take_added(const json& decoder, const std::string& path, TokenNames& names) {
  if (!decoder.is_object()) {
    refuse_vocabulary(path, fmt::format("'added_tokens_decoder' is a {}; expected an object", decoder.type_name()));
  }
  for (const auto& entry : decoder.items()) {
    AddedToken token;
    token.id = id_of_key(entry.key(), path);
    const std::optional<std::string> text = text_of_token(entry.value());
    if (!text) {
      refuse_vocabulary(path, fmt::format("the added token of id {} has no 'content'", token.id));
    }
    token.content = *text;
    const auto flag = [&](const char* name) {
      const auto found = entry.value().is_object() ? entry.value().find(name) : entry.value().end();
      return entry.value().is_object() && found != entry.value().end() && found->is_boolean() && found->get<bool>();
    };
    token.special = flag("special");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.single_word = flag("single_word");
    token.normalized = flag("normalized");
    names.added.push_back(std::move(token));
  }
}

std::optional<int64_t> id_of(const std::vector<AddedToken>& added, std::string_view content, bool special_only) {
  const auto found = std::find_if(added.begin(), added.end(), [&](const AddedToken& token) {
    return token.content == content && (token.special || !special_only);
  });
  return found == added.end() ? std::nullopt : std::optional(found->id);
}

std::optional<int64_t> named_or_usual(const std::vector<AddedToken>& added, const std::optional<std::string>& name,
                                      std::initializer_list<std::string_view> usual) {
  if (name) {
    return id_of(added, *name, false);
  }
  for (const std::string_view text : usual) {
    if (const auto id = id_of(added, text, true)) {
      return id;
    }
  }
  return std::nullopt;
}

std::string in_folder(const std::string& folder, const char* name) {
  return std::filesystem::path(folder) / name;
}

}  // namespace

TokenNames read_token_names(const std::string& folder) {
  TokenNames names;
  const std::string path = in_folder(folder, "tokenizer_config.json");
  if (const std::optional<json> config = read_object(path)) {
    take_names(*config, names);
    if (const auto decoder = config->find("added_tokens_decoder"); decoder != config->end()) {
      take_added(*decoder, path, names);
    }
    if (const auto type = config->find("tokenizer_class"); type != config->end() && type->is_string()) {
      names.tokenizer_class = type->get<std::string>();
    }
    if (const auto space = config->find("add_prefix_space"); space != config->end() && space->is_boolean()) {
      names.add_prefix_space = space->get<bool>();
    }
  }
  if (const std::optional<json> map = read_object(in_folder(folder, "special_tokens_map.json"))) {
    take_names(*map, names);
  }
  return names;
}

std::vector<AddedToken> read_added_tokens(const std::string& folder) {
  const std::string path = in_folder(folder, "added_tokens.json");
  std::vector<AddedToken> added;
  if (const std::optional<json> root = read_object(path)) {
    for (const auto& entry : root->items()) {
      if (!entry.value().is_number_integer()) {
        refuse_vocabulary(
            path, fmt::format("{} has a {} where an id belongs", quote(entry.key()), entry.value().type_name()));
      }
      AddedToken token;
      token.id = entry.value().get<int64_t>();
      token.content = entry.key();
      added.push_back(std::move(token));
    }
  }
  return added;
}

std::optional<int64_t> mask_of(const std::vector<AddedToken>& added, const std::optional<std::string>& name) {
  return named_or_usual(added, name, {"<|mask|>", "<|mdm_mask|>", "[MASK]", "<mask>"});
}

std::optional<int64_t> end_of_text_of(const std::vector<AddedToken>& added, const std::optional<std::string>& name) {
  return named_or_usual(added, name, {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"});
}

}  // namespace demask
