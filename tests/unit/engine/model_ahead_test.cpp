#include "engine/model_ahead.h"

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

TEST_CASE("What can be read of a configuration's model without LibTorch is there for that checkpoint alone") {
  const std::string source = DEMASK_SOURCE_DIR;
  Config config;
  config.data_dir = source + "/data";
  const auto ahead_of = [&config](const std::string& folder, const std::string& name) {
    config.out_dir = folder;
    config.checkpoint_name = name;
    return std::make_unique<ModelAhead>(config, 0);
  };
  const std::string checkpoint = source + "/out/diffusion.pt", folder = goldens + "llada/model";
  const auto characters = ahead_of(source + "/out", "diffusion.pt");
  CHECK_FALSE(characters->take_vocabulary(folder).valid());
  CHECK(characters->finite(folder) == nullptr);
  CHECK(characters->finite(checkpoint) != nullptr);
  const VocabularyAhead vocabulary = characters->take_vocabulary(checkpoint).get();
  REQUIRE(vocabulary.vocabulary);
  CHECK(vocabulary.path == source + "/data/char_diffusion/meta.pkl");
  CHECK(vocabulary.vocabulary->characters());
  CHECK_FALSE(characters->take_vocabulary(checkpoint).valid());  // it is taken once
  const VocabularyAhead pieces = ahead_of(goldens + "llada", "model")->take_vocabulary(folder).get();
  REQUIRE(pieces.vocabulary);
  CHECK(pieces.path == folder + "/tokenizer.json");
  CHECK_FALSE(ahead_of(source + "/out", "none.pt")->take_vocabulary(source + "/out/none.pt").get().vocabulary);
  const std::string module = DEMASK_EXPORTED_DIFFUSION;
  CHECK_FALSE(ahead_of("", module)->take_vocabulary(module).get().vocabulary);
}
