#include <filesystem>
#include <memory>
#include <system_error>

#include "app/inspect/kinds.h"
#include "app/inspect/vocabulary_facts.h"
#include "core/text.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(std::optional<int64_t> id) {
  return id ? Json(*id) : Json();
}

// As many as a tokenizer's chat turns; large ones have hundreds that are reserved.
Json special_tokens(const Vocabulary& vocabulary) {
  constexpr size_t most = 32;
  constexpr size_t longest = 80;
  Json listed = Json::object();
  for (int64_t id = 0; id < vocabulary.size() && listed.size() < most; ++id) {
    if (vocabulary.is_special(id)) {
      listed[std::to_string(id)] = shorten(vocabulary.piece(id), longest);
    }
  }
  return listed;
}

// All of them, where tokens are characters.
std::string alphabet(const Vocabulary& vocabulary) {
  std::string text;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.is_special(id)) {
      text += vocabulary.piece(id);
    }
  }
  constexpr size_t shown = 400;
  return printable(text, shown);
}

}  // namespace

Json vocabulary_facts(const Vocabulary& vocabulary) {
  Json facts;
  facts["tokens"] = vocabulary.size();
  facts["of"] = vocabulary.characters() ? "characters" : "pieces of byte-level BPE";
  facts["mask_token_id"] = or_null(vocabulary.mask_token_id());
  if (!vocabulary.mask_token_id()) {
    if (const std::optional<int64_t> likely = likely_mask_token(vocabulary)) {
      facts["likely_mask_token_id"] = *likely;
    }
  }
  facts["end_of_text"] = or_null(vocabulary.end_of_text());
  if (const Json special = special_tokens(vocabulary); !special.empty()) {
    facts["special_tokens"] = special;
  }
  if (vocabulary.characters()) {
    facts["alphabet"] = alphabet(vocabulary);
  }
  return facts;
}

FileReport report_on_vocabulary(const std::string& path) {
  std::error_code unknown;
  const std::string file = std::filesystem::is_directory(path, unknown) ? *vocabulary_in(path) : path;
  FileReport report;
  report.facts["file"] = file;
  report.facts["kind"] = "vocabulary";
  report.facts["form"] = name_of(vocabulary_kind(file));
  try {
    report.facts.update(vocabulary_facts(*read_vocabulary(file)));
    report.facts["used_by"] = "--meta_path=" + file;
  } catch (const Error& error) {
    report.refuse(error);
  }
  return report;
}

}  // namespace demask
