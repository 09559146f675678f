#include "engine/vocabulary_ahead.h"

#include <string>

#include "model/load_model.h"
#include "tests/support/catch.h"
#include "tests/support/goldens.h"

using namespace demask;
using demask::testing::goldens;

TEST_CASE("A vocabulary is read ahead where the model's file says which it is, and nothing is said where it does not") {
  const std::string source = DEMASK_SOURCE_DIR;
  Config config;
  config.data_dir = source + "/data";
  const auto read = [&config](const std::string& checkpoint) {
    std::future<VocabularyAhead> vocabulary;
    LoadOptions options;
    options.on_known = [&](const ModelInfo& info) { vocabulary = read_vocabulary_ahead(config, checkpoint, info); };
    load_model(checkpoint, options);
    return vocabulary.valid() ? vocabulary.get() : VocabularyAhead();
  };
  const VocabularyAhead characters = read(source + "/out/diffusion.pt");
  CHECK(characters.path == source + "/data/char_diffusion/meta.pkl");
  REQUIRE(characters.vocabulary);
  CHECK(characters.vocabulary->characters());
  const VocabularyAhead pieces = read(goldens + "llada/model");
  CHECK(pieces.path == goldens + "llada/model/tokenizer.json");
  CHECK(pieces.vocabulary);
  CHECK_FALSE(read(DEMASK_EXPORTED_DIFFUSION).vocabulary);  // a module says what it is once it is loaded
  config.data_dir = source + "/docs";
  CHECK_FALSE(read(source + "/out/diffusion.pt").vocabulary);  // with a dataset that is not there
}
