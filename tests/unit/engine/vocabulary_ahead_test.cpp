#include "engine/vocabulary_ahead.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/support/goldens.h"

using namespace demask;
using demask::testing::goldens;

TEST_CASE("A vocabulary is read ahead where the model's file says which it is, and nothing is said where it does not") {
  const std::string source = DEMASK_SOURCE_DIR;
  Config config;
  config.data_dir = source + "/data";
  const auto read = [&config](const std::string& checkpoint) {
    return read_vocabulary_ahead(config, checkpoint).get();
  };
  const VocabularyAhead characters = read(source + "/out/diffusion.pt");
  CHECK(characters.path == source + "/data/char_diffusion/meta.pkl");
  REQUIRE(characters.vocabulary);
  CHECK(characters.vocabulary->characters());
  const VocabularyAhead pieces = read(goldens + "llada/model");
  CHECK(pieces.path == goldens + "llada/model/tokenizer.json");
  CHECK(pieces.vocabulary);
  for (const std::string& other : {std::string(DEMASK_EXPORTED_DIFFUSION), source + "/out/none.pt", source + "/docs"}) {
    CAPTURE(other);
    CHECK_FALSE(read(other).vocabulary);
  }
}
