#include "text/read_vocabulary.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "checkpoint/file_kind.h"
#include "core/error.h"
#include "core/input_file.h"
#include "core/text.h"
#include "text/bpe_files.h"
#include "text/meta_file.h"
#include "text/tokenizer_json.h"

namespace demask {
namespace {

constexpr InputFileKind vocabulary_file{"vocabulary", "Set --meta_path or --dataset."};
constexpr uint64_t max_file_bytes = uint64_t{64} << 20;  // large tokenizers have 30 MB
constexpr char pickle_start = '\x80';

// Reads a JSON file as far as it takes to know which of the three it is.
class JsonSniffer : public nlohmann::json_sax<nlohmann::json> {
 public:
  VocabularyKind kind() const { return kind_; }

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return integer(); }
  bool number_unsigned(number_unsigned_t /*value*/) override { return integer(); }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(size_t /*size*/) override { return deeper(); }
  bool start_array(size_t /*size*/) override { return deeper(); }
  bool end_object() override { return higher(); }
  bool end_array() override { return higher(); }
  bool parse_error(size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return false;  // whoever reads it in earnest says what is wrong
  }

  bool key(string_t& value) override {
    if (depth_ != 1) {
      return true;
    }
    key_ = value;
    const auto is_one_of = [&](std::initializer_list<std::string_view> keys) {
      return std::find(keys.begin(), keys.end(), key_) != keys.end();
    };
    is_meta_number_ = is_one_of({"vocab_size", "mask_token_id"});
    awaited_ = is_one_of({"model", "added_tokens", "normalizer", "pre_tokenizer", "decoder"})
                   ? VocabularyKind::tokenizer
                   : VocabularyKind::meta;
    is_meta_key_ = is_one_of({"itos", "stoi"});
    return true;
  }

 private:
  // A piece's id, if it is one: only vocab.json has numbers right below its root, but for those of meta.json.
  bool integer() {
    if (depth_ != 1 || is_meta_number_) {
      return true;
    }
    kind_ = VocabularyKind::pieces;
    return false;
  }

  bool deeper() {
    if (depth_++ != 1) {
      return true;
    }
    if (awaited_ == VocabularyKind::tokenizer || is_meta_key_) {
      kind_ = awaited_;
      return false;
    }
    return true;
  }

  bool higher() {
    --depth_;
    return true;
  }

  size_t depth_ = 0;
  std::string key_;
  VocabularyKind kind_ = VocabularyKind::meta, awaited_ = VocabularyKind::meta;
  bool is_meta_number_ = false, is_meta_key_ = false;
};

VocabularyKind json_kind(const std::string& content) {
  JsonSniffer sniffer;
  nlohmann::json::sax_parse(content, &sniffer);
  return sniffer.kind();
}

VocabularyKind kind_of(const std::string& content, const std::string& path) {
  const std::string_view start = std::string_view(content).substr(0, recognised_bytes);
  if (const auto known = recognise_file(start, vocabulary_file)) {
    fail(ExitCode::bad_input, "vocabulary '{}': it is {}", path, *known);
  }
  if (starts_with(start, "PK\3\4")) {
    fail(ExitCode::bad_input,
         "vocabulary '{}': it is a zip file, perhaps a checkpoint; a vocabulary is a tokenizer.json, a vocab.json with "
         "merges.txt, a rank file as tiktoken's, or nanoGPT's meta.pkl or meta.json.",
         path);
  }
  if (content[0] == pickle_start) {
    return VocabularyKind::meta;
  }
  if (looks_like_ranks(content)) {
    return VocabularyKind::ranks;
  }
  return looks_like_merges(content) ? VocabularyKind::merges : json_kind(content);
}

std::string content_of(const std::string& path) {
  return read_input_file(path, vocabulary_file, max_file_bytes);
}

std::unique_ptr<Vocabulary> read_file(const std::string& path) {
  const std::string content = content_of(path);
  switch (kind_of(content, path)) {
    case VocabularyKind::tokenizer:
      return read_tokenizer_json(content, path);
    case VocabularyKind::pieces:
      return read_vocab_json(content, path);
    case VocabularyKind::merges:
      return read_merges_alone(content, path);
    case VocabularyKind::ranks:
      return read_rank_file(content, path);
    case VocabularyKind::meta:
      break;
  }
  return read_meta_file(content, path);
}

}  // namespace

VocabularyKind vocabulary_kind(const std::string& path) {
  return kind_of(content_of(path), path);
}

std::optional<std::string> vocabulary_in(const std::string& folder) {
  const std::filesystem::path place(folder);
  std::error_code ignored;
  const auto has = [&](const char* name) { return std::filesystem::exists(place / name, ignored); };
  if (has("tokenizer.json")) {
    return place / "tokenizer.json";
  }
  if (has("vocab.json") && has("merges.txt")) {
    return place / "vocab.json";
  }
  std::vector<std::string> ranks;
  for (const auto& entry : std::filesystem::directory_iterator(place, ignored)) {
    if (entry.path().extension() == ".tiktoken") {
      ranks.push_back(entry.path());
    }
  }
  if (!ranks.empty()) {
    return *std::min_element(ranks.begin(), ranks.end());
  }
  for (const char* name : {"merges.txt", "meta.pkl", "meta.json"}) {
    if (has(name)) {
      return place / name;
    }
  }
  return std::nullopt;
}

std::unique_ptr<Vocabulary> read_vocabulary(const std::string& path) {
  std::error_code unknown;
  if (!std::filesystem::is_directory(path, unknown)) {
    return read_file(path);
  }
  const std::optional<std::string> file = vocabulary_in(path);
  if (!file) {
    fail(ExitCode::bad_input,
         "vocabulary '{}': the folder has none of tokenizer.json, vocab.json with merges.txt, *.tiktoken, merges.txt, "
         "meta.pkl and meta.json. {}",
         path, list_neighbours(std::filesystem::path(path) / "tokenizer.json"));
  }
  return read_file(*file);
}

}  // namespace demask
