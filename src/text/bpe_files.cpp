#include "text/bpe_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "core/input_file.h"
#include "core/notice.h"
#include "core/text.h"
#include "text/byte_letters.h"
#include "text/gpt2_words.h"
#include "text/tokenizer_names.h"
#include "text/tokenizer_sax.h"

namespace demask {
namespace {

constexpr InputFileKind merges_file{"merges of a vocabulary", "vocab.json needs merges.txt beside it."};
constexpr uint64_t max_merges_bytes = uint64_t{64} << 20;
constexpr std::string_view end_of_text = "<|endoftext|>";

// Hugging Face's Qwen2Tokenizer.
constexpr std::string_view qwen_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// openai/tiktoken, tiktoken_ext/openai_public.py.
constexpr std::string_view cl100k_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view o200k_pattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

void cut_by(std::string_view pattern, Tokenizer& tokenizer) {
  PreTokenizerStep step;
  step.pattern.push_back(TokenizerRegex::from_oniguruma(pattern));
  step.is_gpt2_words = pattern == gpt2_pattern;
  tokenizer.steps.push_back(std::move(step));
}

AddedToken special_token(std::string_view content, int64_t id) {
  AddedToken token;
  token.id = id;
  token.content = content;
  token.special = true;
  return token;
}

// Calls `take` with each line, without its end, and its number from 1; empty ones are left out.
template <typename Take>
void each_line(std::string_view content, const Take& take) {
  for (size_t start = 0, number = 1; start < content.size(); ++number) {
    const size_t end = std::min(content.find('\n', start), content.size());
    std::string_view line = content.substr(start, end - start);
    if (ends_with(line, "\r")) {
      line.remove_suffix(1);
    }
    if (!line.empty()) {
      take(line, number);
    }
    start = end + 1;
  }
}

void add_merges(std::string_view content, TokenizerBuilder& builder) {
  each_line(content, [&](std::string_view line, size_t /*number*/) {
    if (!starts_with(line, "#version")) {
      builder.add_merge(line);
    }
  });
}

// How the tokenizers of Hugging Face that have vocab.json and merges.txt cut texts, by their classes.
void cut_as_class(const TokenNames& names, TokenizerBuilder& builder) {
  std::string name = names.tokenizer_class.value_or("GPT2Tokenizer");
  if (ends_with(name, "Fast")) {
    name.resize(name.size() - 4);
  }
  Tokenizer& tokenizer = builder.tokenizer();
  if (names.add_prefix_space.value_or(false)) {
    PreTokenizerStep step;
    step.kind = PreTokenizerStep::Kind::space_in_front;
    tokenizer.steps.push_back(std::move(step));
  }
  if (name == "Qwen2Tokenizer" || name == "DreamTokenizer") {
    tokenizer.nfc = true;
    cut_by(qwen_pattern, tokenizer);
  } else if (name == "GPT2Tokenizer" || name == "CodeGenTokenizer" || name == "RobertaTokenizer" ||
             name == "BartTokenizer") {
    cut_by(gpt2_pattern, tokenizer);
  } else {
    builder.refuse(
        fmt::format("its tokenizer_config.json has 'tokenizer_class' {}; known with vocab.json are GPT2Tokenizer, "
                    "CodeGenTokenizer, RobertaTokenizer, BartTokenizer, Qwen2Tokenizer and DreamTokenizer. Give its "
                    "tokenizer.json instead",
                    quote(name)));
  }
}

// --- rank files ---

int decode_base64_digit(char digit) {
  if (digit >= 'A' && digit <= 'Z') {
    return digit - 'A';
  }
  if (digit >= 'a' && digit <= 'z') {
    return digit - 'a' + 26;
  }
  if (digit >= '0' && digit <= '9') {
    return digit - '0' + 52;
  }
  return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

// Of four letters each, the last four with one or two '=' where they stand for fewer than three bytes (RFC 4648).
std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  for (int padding = 0; padding < 2 && ends_with(text, "="); ++padding) {
    text.remove_suffix(1);
  }
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char letter : text) {
    const int digit = decode_base64_digit(letter);
    if (digit < 0) {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xFFU);
    }
  }
  return bytes;
}

std::optional<std::pair<std::string, int64_t>> ranked_piece(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == 0 || blank == std::string_view::npos) {
    return std::nullopt;
  }
  const std::optional<std::string> bytes = decode_base64(line.substr(0, blank));
  int64_t rank = 0;
  const auto [end, error] = std::from_chars(line.data() + blank + 1, line.data() + line.size(), rank);
  if (!bytes || bytes->empty() || error != std::errc() || end != line.data() + line.size()) {
    return std::nullopt;
  }
  return std::make_pair(*bytes, rank);
}

// The released rank files, by how many pieces they have.
void cut_as_released(size_t pieces, const std::string& path, TokenizerBuilder& builder) {
  struct Released {
    size_t pieces;
    std::string_view pattern;
    std::vector<std::pair<std::string_view, int64_t>> special;
  };
  const Released all[] = {
      {50256, gpt2_pattern, {{end_of_text, 50256}}},  // gpt2, r50k_base
      {50280, gpt2_pattern, {{end_of_text, 50256}}},  // p50k_base
      {100256,
       cl100k_pattern,
       {{end_of_text, 100257},
        {"<|fim_prefix|>", 100258},
        {"<|fim_middle|>", 100259},
        {"<|fim_suffix|>", 100260},
        {"<|endofprompt|>", 100276}}},                                                                    // cl100k_base
      {199998, o200k_pattern, {{end_of_text, 199999}, {"<|endofprompt|>", 200018}}},                      // o200k_base
      {151643, qwen_pattern, {{end_of_text, 151643}, {"<|im_start|>", 151644}, {"<|im_end|>", 151645}}},  // Qwen
      {128000,
       cl100k_pattern,
       {{"<|begin_of_text|>", 128000}, {"<|end_of_text|>", 128001}, {"<|eot_id|>", 128009}}},  // Llama 3
  };
  for (const Released& released : all) {
    if (released.pieces == pieces) {
      cut_by(released.pattern, builder.tokenizer());
      builder.tokenizer().nfc = released.pattern == qwen_pattern;
      for (const auto& [content, id] : released.special) {
        builder.add_token(special_token(content, id));
      }
      return;
    }
  }
  notice("the rank file '{}' does not say how texts are cut into words; going on with GPT-2's.", path);
  cut_by(gpt2_pattern, builder.tokenizer());
}

}  // namespace

std::unique_ptr<Vocabulary> read_vocab_json(const std::string& content, const std::string& path) {
  TokenizerBuilder builder(path);
  TokenizerSax sax(builder, true);
  nlohmann::json::sax_parse(content, &sax);

  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  add_merges(read_input_file(folder / "merges.txt", merges_file, max_merges_bytes), builder);
  TokenNames names = read_token_names(folder);
  cut_as_class(names, builder);

  std::vector<AddedToken> added = std::move(names.added);
  if (added.empty()) {
    added = read_added_tokens(folder);
    for (AddedToken& token : added) {
      token.special = std::find(names.special.begin(), names.special.end(), token.content) != names.special.end();
    }
  }
  const auto known = [&](std::string_view text) {
    return std::any_of(added.begin(), added.end(), [&](const AddedToken& token) { return token.content == text; });
  };
  // Roles may go to pieces of vocab.json, as GPT-2's end of text does.
  names.special.emplace_back(end_of_text);
  for (const std::string& text : names.special) {
    const std::optional<std::string> bytes = bytes_of_letters(text);
    const std::optional<int64_t> id = bytes ? builder.tokenizer().pieces.find(*bytes) : std::nullopt;
    if (id && !known(text)) {
      added.push_back(special_token(text, *id));
    }
  }
  for (AddedToken& token : added) {
    builder.add_token(std::move(token));
  }
  return std::make_unique<PieceVocabulary>(builder.finish(names.mask, names.end_of_text));
}

std::unique_ptr<Vocabulary> read_merges_alone(const std::string& content, const std::string& path) {
  TokenizerBuilder builder(path);
  int64_t id = 0;
  for (const unsigned char byte : bytes_in_gpt2_order()) {
    const char letter = static_cast<char>(byte);
    builder.add_piece_bytes(std::string_view(&letter, 1), id++);
  }
  each_line(content, [&](std::string_view line, size_t number) {
    if (starts_with(line, "#version")) {
      return;
    }
    builder.add_merge(line);
    const size_t blank = line.find(' ');
    std::string letters(line);
    letters.erase(blank, 1);
    const std::optional<std::string> bytes = bytes_of_letters(letters);
    if (!bytes) {
      builder.refuse(fmt::format("line {} has characters that stand for no bytes: {}", number, quote(line)));
    }
    builder.add_piece_bytes(*bytes, id++);
  });
  builder.add_token(special_token(end_of_text, id));
  cut_by(gpt2_pattern, builder.tokenizer());
  return std::make_unique<PieceVocabulary>(builder.finish(std::nullopt, std::nullopt));
}

std::unique_ptr<Vocabulary> read_rank_file(const std::string& content, const std::string& path) {
  TokenizerBuilder builder(path);
  size_t pieces = 0;
  each_line(content, [&](std::string_view line, size_t number) {
    const auto piece = ranked_piece(line);
    if (!piece) {
      builder.refuse(fmt::format("line {} is not a piece in base64, a blank and its id: {}", number, quote(line)));
    }
    builder.add_piece_bytes(piece->first, piece->second);
    ++pieces;
  });
  builder.merge_by_ids();
  cut_as_released(pieces, path, builder);
  return std::make_unique<PieceVocabulary>(builder.finish(std::nullopt, std::nullopt));
}

bool looks_like_merges(std::string_view content) {
  const std::string_view line = content.substr(0, content.find('\n'));
  return starts_with(content, "#version") ||
         (line.size() <= 1024 && std::count(line.begin(), line.end(), ' ') == 1 && line.front() != ' ' &&
          line.back() != ' ' && content.size() > line.size() && bytes_of_letters(line.substr(0, line.find(' '))) &&
          line.front() != '{' && line.front() != '[');
}

bool looks_like_ranks(std::string_view content) {
  std::string_view line = content.substr(0, content.find('\n'));
  if (ends_with(line, "\r")) {
    line.remove_suffix(1);
  }
  return line.size() <= 1024 && ranked_piece(line).has_value();
}

}  // namespace demask
