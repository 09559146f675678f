// Reads the large parts of tokenizer.json as they come, without a tree of them in memory.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer_builder.h"

namespace demask {

// Gives model.vocab, model.merges and added_tokens to a builder, and keeps the rest. Throws Error(bad_input).
class TokenizerSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  // With `vocabulary_only` the whole file is the object from piece to id, as vocab.json is.
  TokenizerSax(TokenizerBuilder& builder, bool vocabulary_only);

  // Everything else in the file, an object.
  const nlohmann::json& rest() const { return rest_; }
  bool has_merges() const { return has_merges_; }

  bool null() override;
  bool boolean(bool value) override;
  bool number_integer(number_integer_t value) override;
  bool number_unsigned(number_unsigned_t value) override;
  bool number_float(number_float_t value, const string_t& text) override;
  bool string(string_t& value) override;
  bool binary(binary_t& value) override;
  bool start_object(size_t size) override;
  bool key(string_t& value) override;
  bool end_object() override;
  bool start_array(size_t size) override;
  bool end_array() override;
  bool parse_error(size_t position, const std::string& token, const nlohmann::json::exception& error) override;

 private:
  enum class Place { rest, vocabulary, merges, merge_pair, added, added_token, skipped };

  bool take(nlohmann::json value);
  nlohmann::json& put(nlohmann::json value);
  void start(nlohmann::json container);
  void end();
  void take_token_member(const nlohmann::json& value);
  bool at(const char* first, const char* second) const;
  [[noreturn]] void refuse_value(const char* where, const char* expected, const nlohmann::json& value) const;

  TokenizerBuilder& builder_;
  Place place_ = Place::rest;
  size_t depth_ = 0, skipped_above_ = 0;
  nlohmann::json rest_;
  std::vector<nlohmann::json*> open_;  // the containers of the rest that are being read
  std::vector<std::string> keys_;      // the last key of each level
  size_t values_ = 0;
  std::string key_;
  std::vector<std::string> pair_;
  AddedToken token_;
  bool has_id_ = false, has_content_ = false;
  bool has_merges_ = false;
};

}  // namespace demask
