#include "engine/token_roles.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/goldens.h"
#include "text/character_vocabulary.h"
#include "text/read_vocabulary.h"

using namespace demask;
using demask::testing::goldens;

TEST_CASE("The mask is the flag's, else the model's, else the vocabulary's, else the first id past it") {
  const auto vocabulary = read_vocabulary(goldens + "llada/model/tokenizer.json");
  ModelInfo model;
  model.output_size = 384;
  model.mask_token_id = 352;
  CHECK(resolve_mask_token(7, *vocabulary, model) == 7);
  CHECK(resolve_mask_token({}, *vocabulary, model) == 352);
  model.mask_token_id.reset();
  CHECK(resolve_mask_token({}, *vocabulary, model) == vocabulary->mask_token_id().value_or(vocabulary->size()));
  const auto without_mask = read_vocabulary(goldens + "gpt2/model/tokenizer.json");
  model.output_size = without_mask->size() + 1;
  CHECK(resolve_mask_token({}, *without_mask, model) == without_mask->size());
  model.output_size = without_mask->size();
  CHECK_FALSE(resolve_mask_token({}, *without_mask, model));
}

TEST_CASE("A vocabulary of characters that names its mask is believed before the model") {
  const CharacterVocabulary vocabulary({"a", "b"}, 5);
  ModelInfo model;
  model.output_size = 8;
  model.mask_token_id = 3;
  CHECK(resolve_mask_token({}, vocabulary, model) == 5);
}

TEST_CASE("Special tokens are never drawn, but for the end of text") {
  const auto vocabulary = read_vocabulary(goldens + "llada/model/tokenizer.json");
  const std::vector<int64_t> allowed = allowed_tokens(*vocabulary, 352);
  const auto may_draw = [&](int64_t id) { return std::count(allowed.begin(), allowed.end(), id) > 0; };
  int64_t marks = 0;
  for (int64_t id = 0; id < vocabulary->size(); ++id) {
    CAPTURE(id, vocabulary->token(id));
    if (vocabulary->is_special(id) && id != vocabulary->end_of_text()) {
      ++marks;
      CHECK_FALSE(may_draw(id));
    } else {
      CHECK(may_draw(id) == (vocabulary->has_text(id) && id != 352));
    }
  }
  CHECK(marks > 0);
  REQUIRE(vocabulary->end_of_text());
  CHECK(may_draw(*vocabulary->end_of_text()));
}
