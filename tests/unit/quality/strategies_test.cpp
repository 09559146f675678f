#include "bench/quality/strategies.h"

#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "sampling/strategies/strategy.h"
#include "tests/support/catch.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask::quality;
using Words = std::vector<std::string>;

namespace {

std::string refusal(const Words& requests) {
  try {
    select_strategies(requests);
  } catch (const demask::Error& error) {
    return error.code() == demask::ExitCode::bad_usage ? error.what() : "another exit code";
  }
  return "no error";
}

}  // namespace

TEST_CASE("a strategy of the user's has a label and demask's arguments") {
  const std::vector<Strategy> strategies = select_strategies({" my own : --a=1\t--b=x:y  --c ", "plain:"});
  REQUIRE(strategies.size() == 2);
  CHECK(strategies[0].label == "my own");
  CHECK(strategies[0].arguments == Words{"--a=1", "--b=x:y", "--c"});
  CHECK(strategies[1].label == "plain");
  CHECK(strategies[1].arguments.empty());
}

TEST_CASE("a bare label names a built-in strategy, and none names all") {
  const std::vector<Strategy> one = select_strategies({"remdm-cap"});
  REQUIRE(one.size() == 1);
  CHECK(one[0].arguments == Words{"--strategy=remdm", "--remdm=cap"});

  std::set<std::string> labels;
  for (const Strategy& strategy : select_strategies({})) {
    labels.insert(strategy.label);
    CHECK(arguments_for(strategy, 16).back() == "--forwards=16");
  }
  CHECK(labels.size() == 23);
  CHECK(labels.count("best") == 1);
}

TEST_CASE("every strategy that demask knows is built in, and no argument names another") {
  std::set<std::string> measured, known;
  for (const Strategy& strategy : select_strategies({})) {
    REQUIRE(strategy.arguments.front().rfind("--strategy=", 0) == 0);
    measured.insert(strategy.arguments.front().substr(std::string("--strategy=").size()));
  }
  for (const demask::Strategy& strategy : demask::strategies()) {
    known.emplace(strategy.name);
  }
  CHECK(measured == known);
}

TEST_CASE("labels that name nothing, or two strategies, are refused with what there is") {
  CHECK_THAT(refusal({"nope"}), ContainsSubstring("'nope'") && ContainsSubstring("maskgit, threshold"));
  CHECK_THAT(refusal({"a:", "b:", "a: --x"}), ContainsSubstring("two strategies are called 'a'"));
  CHECK_THAT(refusal({": --x"}), ContainsSubstring("label"));
  CHECK_THAT(refusal({""}), ContainsSubstring("label"));
  CHECK_THAT(refusal({"a\x01: --x"}), ContainsSubstring("label"));
}

TEST_CASE("forwards stand where the arguments ask for them, and at the end otherwise") {
  CHECK(arguments_for({"", {"--a=1"}}, 32) == Words{"--a=1", "--forwards=32"});
  CHECK(arguments_for({"", {"--a={N}", "--b={N/2}{N}"}}, 33) == Words{"--a=33", "--b=1633"});
  CHECK(arguments_for({"", {"--a={N/2}"}}, 1) == Words{"--a=1"});
  CHECK(arguments_for({"", {}}, 5) == Words{"--forwards=5"});
}
