#include "engine/vocabulary_place.h"

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace demask;
using Catch::Matchers::ContainsSubstring;
using demask::testing::TemporaryFolder;
using demask::testing::write_file;

namespace {

// A place with models/m.pt and data folders, which hold what a test puts there.
struct Place {
  TemporaryFolder folder;
  Config config;
  ModelInfo info;

  Place() {
    for (const char* name : {"models", "data", "data/letters", "data/other", "data/gpt2", "data/shakespeare_char"}) {
      std::filesystem::create_directories(folder / name);
    }
    config.data_dir = folder / "data";
    info.output_size = 66;
  }
  std::string put(const std::string& name) const {
    write_file(folder / name, "x");
    return folder / name;
  }
  VocabularyPlace found() const { return vocabulary_place(config, folder / "models/m.pt", info); }
};

}  // namespace

TEST_CASE("meta_path comes before the model's folder, and that before the dataset's") {
  Place place;
  place.info.dataset = "letters";
  const std::string dataset = place.put("data/letters/meta.pkl");
  CHECK(place.found().path == dataset);
  const std::string beside = place.put("models/tokenizer.json");
  CHECK(place.found().path == beside);
  CHECK(place.found().notice.empty());
  const std::string named = place.put("data/other/meta.json");
  place.config.meta_path = named;
  CHECK(place.found().path == named);
  place.config.meta_path = place.folder / "data/other";
  CHECK(place.found().path == named);
  place.config.meta_path = "absent";
  CHECK(place.found().path == "absent");
}

TEST_CASE("A dataset that a flag names is told of where the model brings its own vocabulary") {
  Place place;
  place.config.dataset = "letters";
  place.put("data/letters/meta.pkl");
  CHECK(place.found().path == place.folder / "data/letters/meta.pkl");
  place.put("models/tokenizer.json");
  CHECK_THAT(place.found().notice, ContainsSubstring("letters") && ContainsSubstring("--meta_path"));
}

TEST_CASE("A tokenizer's other files are read with it") {
  Place place;
  const std::string merges = place.put("models/merges.txt"), pieces = place.put("models/vocab.json");
  const std::string settings = place.put("models/tokenizer_config.json");
  place.put("models/README.md");
  CHECK(place.found().files == std::vector{pieces, merges, settings});
}

TEST_CASE("Where nothing names a dataset it is shakespeare_char, with a notice") {
  Place place;
  CHECK(place.found().path == place.folder / "data/shakespeare_char/meta.pkl");
  CHECK_THAT(place.found().notice, ContainsSubstring("--dataset"));
}

TEST_CASE("A model of GPT-2's tokens without a vocabulary takes GPT-2's") {
  for (const int64_t rows : {50257, 50258, 50304}) {
    Place place;
    place.info.output_size = rows;
    place.info.dataset = "openwebtext";
    const std::string gpt2 = place.put("data/gpt2/vocab.json");
    place.put("data/gpt2/merges.txt");
    CHECK(place.found().path == gpt2);
    CHECK_THAT(place.found().notice, ContainsSubstring("GPT-2"));
    const std::string own = place.put("models/tokenizer.json");
    CHECK(place.found().path == own);
  }
}

TEST_CASE("A flag's dataset is meant, whatever the model's size; others than GPT-2's are not guessed") {
  Place place;
  place.put("data/gpt2/tokenizer.json");
  place.info.output_size = 50304;
  place.config.dataset = "absent";
  CHECK(place.found().path == place.folder / "data/absent/meta.pkl");
  place.config.dataset.reset();
  place.info.output_size = 50000;
  CHECK(place.found().path == place.folder / "data/shakespeare_char/meta.pkl");
}

TEST_CASE("Where GPT-2's encoding is not found it is said where it should be") {
  Place place;
  place.info.output_size = 50257;
  try {
    const std::string found = place.found().path;
    CHECK_THAT(found, ContainsSubstring("share"));  // one that is installed here
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_input);
    CHECK_THAT(error.what(), ContainsSubstring("--meta_path") && ContainsSubstring(place.config.data_dir));
  }
}
