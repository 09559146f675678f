#include "engine/sample_text.h"

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/goldens.h"
#include "text/character_vocabulary.h"
#include "text/read_vocabulary.h"

using namespace demask;
using demask::testing::goldens;

namespace sample_text_test {
namespace {

Context context_of(std::unique_ptr<Vocabulary> vocabulary, std::optional<bool> stop_at_end = {}) {
  Context context;
  context.config.sampling_method = SamplingMethod::standard;
  context.config.stop_at_end = stop_at_end;
  context.vocabulary = std::move(vocabulary);
  return context;
}

Context pieces(std::optional<bool> stop_at_end = {}) {
  return context_of(read_vocabulary(goldens + "gpt2/model/tokenizer.json"), stop_at_end);
}

// The ids of "a", an end of text, "b", an end of text, "c", the first `given` of them the prompt's.
std::string text_of(const Context& context, int64_t given) {
  const auto id = [&](const char* text) { return context.vocabulary->encode(text).ids.at(0); };
  const int64_t end = *context.vocabulary->end_of_text();
  PreparedPrompt prompt;
  prompt.length = 5;
  prompt.generated = 5 - given;
  return sample_text(context, prompt, {id("a"), end, id("b"), end, id("c")});
}

}  // namespace

TEST_CASE("A text of pieces ends before the first end of text that was drawn") {
  CHECK(text_of(pieces(), 0) == "a");
  CHECK(text_of(pieces(), 1) == "a");
  CHECK(text_of(pieces(), 2) == "a<|endoftext|>b");
  CHECK(text_of(pieces(true), 4) == "a<|endoftext|>b<|endoftext|>c");
}

TEST_CASE("With stop_at_end=False it goes on after it") {
  CHECK(text_of(pieces(false), 0) == "a<|endoftext|>b<|endoftext|>c");
}

TEST_CASE("A text of characters ends nowhere of itself") {
  const Context context =
      context_of(std::make_unique<CharacterVocabulary>(std::vector<std::optional<std::string>>{"a", "b", "c"}));
  PreparedPrompt prompt;
  prompt.length = 3;
  prompt.generated = 3;
  CHECK_FALSE(context.stops_at_end());
  CHECK(sample_text(context, prompt, {0, 1, 2}) == "abc");
}

TEST_CASE("What the vocabulary puts before every text is not shown") {
  const Context context = context_of(read_vocabulary(goldens + "llama/model/tokenizer.json"));
  std::vector<int64_t> tokens = context.vocabulary->template_prefix();
  REQUIRE(tokens.size() == 1);
  for (const int64_t id : context.vocabulary->encode("To be").ids) {
    tokens.push_back(id);
  }
  PreparedPrompt prompt;
  prompt.length = static_cast<int64_t>(tokens.size());
  prompt.generated = 2;
  prompt.unshown = 1;
  CHECK(sample_text(context, prompt, tokens) == "To be");
}

}  // namespace sample_text_test
