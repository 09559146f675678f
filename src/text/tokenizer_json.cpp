#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "text/gpt2_words.h"
#include "text/tokenizer_names.h"
#include "text/tokenizer_sax.h"

namespace demask {
namespace {

using nlohmann::json;

// Reads the parts of the file other than pieces, merges and added tokens.
class Reader {
 public:
  Reader(const TokenizerBuilder& builder, Tokenizer& tokenizer) : builder_(builder), tokenizer_(tokenizer) {}

  void model(const json& root, bool has_merges) {
    const json& model = object(root, "model");
    const json type = model.value("type", json());
    const std::string name = type.is_string() ? type.get<std::string>() : has_merges ? "BPE" : "without a type";
    if (name != "BPE") {
      builder_.refuse(fmt::format("its model is {}; demask reads byte-level BPE (type 'BPE')", quote(name)));
    }
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const json value = model.value(affix, json());
      if (!value.is_null() && value != "") {
        builder_.refuse(fmt::format("its model has {} {}, which byte-level BPE has not", quote(affix), value.dump()));
      }
    }
    if (const json dropout = model.value("dropout", json()); !dropout.is_null() && dropout != 0) {
      builder_.refuse("its model drops merges at random ('dropout'); set it to null");
    }
    tokenizer_.ignore_merges = flag(model, "ignore_merges", false);
  }

  // What a model does with bytes that have no piece.
  void unknown_bytes(const json& root, bool has_every_byte) const {
    const json& model = root["model"];
    const bool replaces = flag(model, "byte_fallback", false) || !model.value("unk_token", json()).is_null();
    if (replaces && !has_every_byte) {
      builder_.refuse("some bytes have no piece, and demask has no 'unk_token' or 'byte_fallback' for them");
    }
  }

  void normalizer(const json& value) {
    if (value.is_null()) {
      return;
    }
    const std::string type = type_of(value, "normalizer");
    if (type == "Sequence") {
      for (const json& part : list(value, "normalizers", "normalizer")) {
        normalizer(part);
      }
    } else if (type == "NFC") {
      tokenizer_.nfc = true;
    } else {
      refuse_type("normalizer", type, "NFC");
    }
  }

  void pre_tokenizer(const json& value) {
    const std::string type = value.is_null() ? "none" : type_of(value, "pre-tokenizer");
    if (type == "Sequence") {
      for (const json& part : list(value, "pretokenizers", "pre-tokenizer")) {
        pre_tokenizer(part);
      }
      return;
    }
    if (is_byte_level_) {
      builder_.refuse(fmt::format("its pre-tokenizer ByteLevel is followed by {}, but must be the last", quote(type)));
    }
    if (type == "ByteLevel") {
      byte_level(value);
    } else if (type == "Split") {
      split(value);
    } else if (type == "Digits") {
      const bool alone = flag(value, "individual_digits", false);
      add_split(TokenizerRegex::from_oniguruma(R"(\p{N})"),
                alone ? SplitBehavior::isolated : SplitBehavior::contiguous);
    } else {
      refuse_type("pre-tokenizer", type, "ByteLevel, Split, Digits and their Sequence");
    }
  }

  void check_byte_level() const {
    if (!is_byte_level_) {
      builder_.refuse("its pre-tokenizer is not ByteLevel, so its pieces are not bytes; demask reads byte-level BPE");
    }
  }

  void decoder(const json& value) const {
    const std::string type = value.is_null() ? "none" : type_of(value, "decoder");
    if (type == "Sequence") {
      for (const json& part : list(value, "decoders", "decoder")) {
        decoder(part);
      }
    } else if (type != "ByteLevel" && type != "Fuse") {
      refuse_type("decoder", type, "ByteLevel");
    }
  }

  // Special tokens that a template has before the text.
  void post_processor(const json& value) {
    const std::string type = value.is_object() ? value.value("type", std::string()) : "";
    if (type == "Sequence" && value.contains("processors") && value["processors"].is_array()) {
      for (const json& part : value["processors"]) {
        post_processor(part);
      }
    } else if (type == "TemplateProcessing" && value.contains("single") && value["single"].is_array()) {
      for (const json& item : value["single"]) {
        if (!item.is_object() || !item.contains("SpecialToken")) {
          break;
        }
        template_token(value, item["SpecialToken"].value("id", std::string()));
      }
    }
  }

 private:
  [[noreturn]] void refuse_type(const char* what, const std::string& type, const char* known) const {
    builder_.refuse(fmt::format("its {} is {}, which demask does not do; it knows {}", what, quote(type), known));
  }

  std::string type_of(const json& value, const char* what) const {
    if (!value.is_object() || !value.contains("type") || !value["type"].is_string()) {
      builder_.refuse(fmt::format("its {} has no 'type'", what));
    }
    return value["type"].get<std::string>();
  }

  const json& object(const json& parent, const char* key) const {
    if (!parent.is_object() || !parent.contains(key) || !parent[key].is_object()) {
      builder_.refuse(fmt::format("it has no object {}", quote(key)));
    }
    return parent[key];
  }

  const json& list(const json& parent, const char* key, const char* what) const {
    if (!parent.contains(key) || !parent[key].is_array()) {
      builder_.refuse(fmt::format("its {} of type 'Sequence' has no list {}", what, quote(key)));
    }
    return parent[key];
  }

  bool flag(const json& parent, const char* key, bool otherwise) const {
    const json value = parent.value(key, json());
    if (!value.is_null() && !value.is_boolean()) {
      builder_.refuse(fmt::format("{} is a {}; expected true or false", quote(key), value.type_name()));
    }
    return value.is_null() ? otherwise : value.get<bool>();
  }

  void add_split(TokenizerRegex pattern, SplitBehavior behavior, bool invert = false) {
    constexpr size_t max_steps = 64;
    if (tokenizer_.steps.size() == max_steps) {
      builder_.refuse(fmt::format("its pre-tokenizer has more than {} steps", max_steps));
    }
    PreTokenizerStep step;
    step.is_gpt2_words = pattern.expression() == gpt2_pattern && behavior == SplitBehavior::isolated && !invert;
    step.pattern.push_back(std::move(pattern));
    step.behavior = behavior;
    step.invert = invert;
    tokenizer_.steps.push_back(std::move(step));
  }

  void byte_level(const json& value) {
    is_byte_level_ = true;
    if (flag(value, "add_prefix_space", true)) {
      PreTokenizerStep step;
      step.kind = PreTokenizerStep::Kind::space_in_front;
      tokenizer_.steps.push_back(std::move(step));
    }
    if (flag(value, "use_regex", true)) {
      add_split(TokenizerRegex::from_oniguruma(gpt2_pattern), SplitBehavior::isolated);
    }
  }

  void split(const json& value) {
    constexpr std::pair<std::string_view, SplitBehavior> behaviors[] = {
        {"Removed", SplitBehavior::removed},
        {"Isolated", SplitBehavior::isolated},
        {"MergedWithPrevious", SplitBehavior::merged_with_previous},
        {"MergedWithNext", SplitBehavior::merged_with_next},
        {"Contiguous", SplitBehavior::contiguous}};
    const json& pattern = object(value, "pattern");
    const json regex = pattern.value("Regex", json()), text = pattern.value("String", json());
    if (regex.is_string() == text.is_string()) {
      builder_.refuse("the 'pattern' of its Split is neither a 'Regex' nor a 'String'");
    }
    const json behavior = value.value("behavior", json());
    for (const auto& [name, meaning] : behaviors) {
      if (behavior == name) {
        add_split(regex.is_string() ? TokenizerRegex::from_oniguruma(regex.get<std::string>())
                                    : TokenizerRegex::literal(text.get<std::string>()),
                  meaning, flag(value, "invert", false));
        return;
      }
    }
    builder_.refuse(
        fmt::format("the 'behavior' of its Split is {}; known are Removed, Isolated, MergedWithPrevious, "
                    "MergedWithNext, Contiguous",
                    behavior.dump()));
  }

  void template_token(const json& processor, const std::string& name) {
    const json tokens = processor.value("special_tokens", json::object());
    const json token = tokens.is_object() ? tokens.value(name, json()) : json();
    const json ids = token.is_object() ? token.value("ids", json()) : json();
    if (!ids.is_array()) {
      builder_.refuse(fmt::format("its post-processor puts {} before a text, but does not say its ids", quote(name)));
    }
    for (const json& id : ids) {
      if (!id.is_number_integer() || !tokenizer_.pieces.has(id.get<int64_t>())) {
        builder_.refuse(fmt::format("its post-processor puts {} before a text, with the id {}, which no token has",
                                    quote(name), id.dump()));
      }
      tokenizer_.template_prefix.push_back(id.get<int64_t>());
    }
  }

  const TokenizerBuilder& builder_;
  Tokenizer& tokenizer_;
  bool is_byte_level_ = false;
};

}  // namespace

std::unique_ptr<Vocabulary> read_tokenizer_json(const std::string& content, const std::string& path) {
  TokenizerBuilder builder(path);
  TokenizerSax sax(builder, false);
  json::sax_parse(content, &sax);
  const json& root = sax.rest();

  const auto part = [&](const char* key) { return root.is_object() ? root.value(key, json()) : json(); };
  Reader reader(builder, builder.tokenizer());
  try {
    reader.model(root, sax.has_merges());
    reader.normalizer(part("normalizer"));
    reader.pre_tokenizer(part("pre_tokenizer"));
    reader.check_byte_level();
    reader.decoder(part("decoder"));
  } catch (const json::exception& error) {
    builder.refuse(fmt::format("a value is of the wrong type: {}", error.what()));
  }
  const TokenNames names = read_token_names(std::filesystem::path(path).parent_path());
  Tokenizer tokenizer = builder.finish(names.mask, names.end_of_text);
  Reader finished(builder, tokenizer);
  finished.unknown_bytes(root, tokenizer.merges.has_every_byte());
  finished.post_processor(part("post_processor"));
  return std::make_unique<PieceVocabulary>(std::move(tokenizer));
}

}  // namespace demask
