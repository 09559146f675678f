#include "engine/prompt_tokens.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string_view>

#include "core/error.h"
#include "core/input_file.h"
#include "core/notice.h"
#include "core/text.h"
#include "core/utf8.h"

namespace demask {
namespace {

constexpr std::string_view file_prefix = "FILE:";

std::string quoted_list(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted(texts.size());
  std::transform(texts.begin(), texts.end(), quoted.begin(), [](const std::string& text) { return quote(text); });
  return fmt::format("{}", fmt::join(quoted, ", "));
}

// As Vocabulary::encode, which does not know whose text it reads.
Vocabulary::Encoding encode(const std::string& key, std::string_view text, const Vocabulary& vocabulary,
                            bool parse_special) {
  try {
    return vocabulary.encode(text, parse_special);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", key, error.what());
  }
}

}  // namespace

std::optional<std::string> named_file(const std::string& value) {
  return starts_with(value, file_prefix) ? std::optional(value.substr(file_prefix.size())) : std::nullopt;
}

std::string read_text_argument(const std::string& key, const std::string& value) {
  const std::optional<std::string> path = named_file(value);
  if (!path) {
    return value;
  }
  const std::string advice = fmt::format("It is what --{} names: check the path, or give the text itself.", key);
  uint64_t size = 0;
  std::ifstream file = open_input_file(*path, {"text", advice.c_str()}, size);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (starts_with(text, byte_order_mark)) {
    text.erase(0, byte_order_mark.size());
  }
  return text;
}

Prompt own_prompt(const Config& config) {
  Prompt prompt;
  prompt.start_text = read_text_argument("start_text", config.start_text);
  if (config.infill_text) {
    prompt.infill_text = read_text_argument("infill_text", *config.infill_text);
  }
  prompt.pattern = own_pattern(config);
  return prompt;
}

std::optional<std::string> own_pattern(const Config& config) {
  if (!config.pattern) {
    return std::nullopt;
  }
  std::string pattern = read_text_argument("pattern", *config.pattern);
  if (named_file(*config.pattern) && ends_with(pattern, "\n")) {
    pattern.resize(pattern.size() - (ends_with(pattern, "\r\n") ? 2 : 1));
  }
  return pattern;
}

TextReading text_reading(const Config& config, bool quiet) {
  return {config.unknown_chars == UnknownChars::skip, quiet, config.parse_special};
}

std::vector<int64_t> encode_text(const std::string& key, const std::string& text, const Vocabulary& vocabulary,
                                 const TextReading& reading) {
  Vocabulary::Encoding encoding = encode(key, text, vocabulary, reading.parse_special);
  if (!encoding.unknown.empty()) {
    const std::string unknown = quoted_list(encoding.unknown);
    if (!reading.skip_unknown) {
      fail(ExitCode::bad_input,
           "{} has characters that are not in the vocabulary: {}. Change the text, or drop them with "
           "--unknown_chars=skip.",
           key, unknown);
    }
    if (!reading.quiet) {
      notice("dropped from {}, as they are not in the vocabulary: {}", key, unknown);
    }
  }
  return encoding.ids;
}

void check_ids(const std::string& key, const std::vector<int64_t>& ids, const Vocabulary& vocabulary,
               const ModelInfo& model) {
  const int64_t end = model.input_size > 0 ? std::min(model.input_size, vocabulary.size()) : vocabulary.size();
  for (size_t position = 0; position < ids.size(); ++position) {
    if (ids[position] < 0 || ids[position] >= end) {
      fail(ExitCode::bad_input, "{}[{}] = {}: must be an id that vocabulary and model have, from 0 to {}.", key,
           position, ids[position], end - 1);
    }
  }
}

std::vector<int64_t> prompt_ids(const Prompt& prompt, const Vocabulary& vocabulary, const ModelInfo& model,
                                const TextReading& reading) {
  // An empty start_text is none: the settings' own prompt always has one.
  const bool has_text = prompt.start_text && !prompt.start_text->empty();
  if (has_text && prompt.infill_text) {
    fail(ExitCode::bad_usage, "start_text and infill_text exclude each other: put the start into the template.");
  }
  if (prompt.tokens && (has_text || prompt.infill_text)) {
    fail(ExitCode::bad_usage, "tokens and {} exclude each other: give one of them.",
         has_text ? "start_text" : "infill_text");
  }
  if (prompt.infill && (has_text || prompt.infill_text || prompt.tokens)) {
    fail(ExitCode::bad_usage, "infill and {} exclude each other: give one of them.",
         has_text             ? "start_text"
         : prompt.infill_text ? "infill_text"
                              : "tokens");
  }
  if (!prompt.tokens) {
    std::vector<int64_t> ids = vocabulary.template_prefix();
    const std::vector<int64_t> own = encode_text("start_text", prompt.start_text.value_or(""), vocabulary, reading);
    ids.insert(ids.end(), own.begin(), own.end());
    return ids;
  }
  check_ids("tokens", *prompt.tokens, vocabulary, model);
  return *prompt.tokens;
}

size_t unshown_tokens(const Prompt& prompt, const Vocabulary& vocabulary) {
  return prompt.tokens ? 0 : vocabulary.template_prefix().size();
}

void check_has_no_mask(const std::string& key, const Template& text, int64_t mask_token_id,
                       const Vocabulary& vocabulary) {
  for (size_t position = 0; position < text.tokens.size(); ++position) {
    if (text.fixed[position] && text.tokens[position] == mask_token_id) {
      fail(
          ExitCode::bad_usage,
          "{} has the mask token {} (id {}) at position {}, counted from 0, which would be filled like any other mask. "
          "Take it out; positions to fill are marked in a template: --infill_text with --mask_char.",
          key, quote(vocabulary.token(mask_token_id)), mask_token_id, position);
    }
  }
}

Template prefix_template(const std::string& key, const std::vector<int64_t>& prefix, int64_t length,
                         int64_t mask_token_id) {
  const auto given = static_cast<int64_t>(prefix.size());
  if (given >= length) {
    fail(ExitCode::bad_usage,
         "{} has {} tokens, which leaves nothing to fill of sequence_length={}. Give a shorter prompt or a longer "
         "length.",
         key, given, length);
  }
  Template text;
  text.tokens = prefix;
  text.tokens.resize(static_cast<size_t>(length), mask_token_id);
  text.fixed.assign(prefix.size(), true);
  text.fixed.resize(static_cast<size_t>(length), false);
  return text;
}

}  // namespace demask
