// What each strategy sets where nothing is given, and that what is set is printed.
#include "tests/unit/config/strategy_settings.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "config/fields.h"
#include "config/printing.h"
#include "config/settle.h"
#include "tests/support/catch.h"

namespace demask {

using namespace strategy_settings;

TEST_CASE("a strategy sets what its source does and nothing else") {
  struct Case {
    Settings given;
    std::set<std::string> sets;
  };
  const std::vector<Case> cases = {
      {{"strategy='remask'"}, {}},
      {{"strategy='random'"}, {}},
      {{"strategy='left_to_right'"}, {}},
      {{"strategy='ancestral'"}, {}},
      {{"strategy='confidence'"}, {"alg_temp=0.0"}},
      {{"strategy='margin'"}, {"alg_temp=0.0"}},
      {{"strategy='entropy'"}, {"alg_temp=0.0"}},
      {{"strategy='maskgit'"}, {"choice_temperature=4.5", "schedule_type='cosine'"}},
      {{"strategy='threshold'"}, {"threshold=0.9"}},
      {{"strategy='factor'"}, {"factor=1.0"}},
      {{"strategy='entropy_bound'"}, {"gamma=0.1"}},
      {{"strategy='klass'"}, {"conf_threshold=0.9", "kl_threshold=0.01", "kl_history=2"}},
      {{"strategy='remdm'"}, {"remdm='cap'", "eta=0.04"}},
      {{"strategy='remdm'", "remdm='rescale'"}, {"remdm='rescale'", "eta=0.05"}},
      {{"strategy='remdm'", "remdm='conf'"}, {"remdm='conf'", "eta=1.0"}},
      {{"strategy='remdm'", "remdm='loop'"}, {"remdm='loop'", "eta=0.02", "t_on=0.55", "t_off=0.05", "alpha_on=0.9"}},
      {{"strategy='planner'"}, {"eta=1.0"}},
  };
  std::set<std::string> seen = {setting("strategy", "best")};
  for (const Case& one : cases) {
    CAPTURE(one.given);
    CHECK(changes(settled(one.given)) == one.sets);
    seen.insert(one.given[0]);
  }
  CHECK(seen.size() == all_strategies().size());
}

// Its numbers are measured, not fixed: docs/strategies.md.
TEST_CASE("best sets every parameter that it takes, and cools down") {
  const Config config = settled({"strategy='best'"});
  CHECK(config.diffusion.schedule_type == ScheduleType::power);
  for (const Field& field : strategy_fields()) {
    if (takers(field).count("best") > 0 && can_be_none(field) && field.group == strategy_field("strategy").group &&
        field.name != "confidence_source") {
      CAPTURE(field.name);
      CHECK_FALSE(value_of(field, config) == Literal{});
    }
  }
  REQUIRE(config.diffusion.temperature_end);
  CHECK(*config.diffusion.temperature_end < config.diffusion.temperature);
  for (const std::string& key : changed(config)) {
    CAPTURE(key);
    CHECK((key == "temperature" || key == "temperature_end" || takers(strategy_field(key)).count("best") == 1));
  }
}

TEST_CASE("best keeps more masked for longer and draws cooler where forwards are few, and as they are from 32 on") {
  const auto power = [](const char* forwards) {
    return *settled({"strategy='best'", forwards}).diffusion.schedule_power;
  };
  CHECK(power("forwards=4") < power("forwards=16"));
  CHECK(power("forwards=16") < power("forwards=32"));
  CHECK(power("forwards=32") == power("forwards=256"));
  CHECK(power("diffusion_iterations=16") == power("forwards=16"));
  CHECK(*settled({"strategy='best'", "forwards=16", "schedule_power=3"}).diffusion.schedule_power == 3);
  const auto temperature = [](const char* forwards) {
    return settled({"strategy='best'", forwards}).diffusion.temperature;
  };
  CHECK(temperature("forwards=8") < temperature("forwards=16"));
  CHECK(temperature("forwards=16") < temperature("forwards=32"));
  CHECK(temperature("forwards=32") == temperature("forwards=256"));
}

TEST_CASE("best favours new tokens least in 32 forwards, and takes words least as one there") {
  const auto value = [](const char* parameter, const Settings& more) {
    return settled(with({"strategy='best'"}, more)).diffusion.parameters.number(parameter);
  };
  CHECK(value("new_token_bonus", {"forwards=8"}) > value("new_token_bonus", {"forwards=16"}));
  CHECK(value("new_token_bonus", {"forwards=16"}) > value("new_token_bonus", {"forwards=32"}));
  CHECK(value("new_token_bonus", {"forwards=256"}) > value("new_token_bonus", {"forwards=32"}));
  CHECK(value("new_token_bonus", {"forwards=256"}) < value("new_token_bonus", {"forwards=8"}));
  CHECK(value("new_token_bonus", {"forwards=16", "new_token_bonus=1"}) == 1);
  CHECK(value("prior_weight", {"forwards=16"}) > value("prior_weight", {"forwards=32"}));
  CHECK(value("prior_weight", {"forwards=256"}) == value("prior_weight", {"forwards=32"}));
  CHECK(value("word_doubt", {"forwards=8"}) > value("word_doubt", {"forwards=16"}));
  CHECK(value("word_doubt", {"forwards=16"}) > value("word_doubt", {"forwards=32"}));
  CHECK(value("word_doubt", {"forwards=1"}) <= 1);
  CHECK(value("word_doubt", {"forwards=64"}) > value("word_doubt", {"forwards=32"}));
  CHECK(value("word_doubt", {"forwards=128"}) > value("word_doubt", {"forwards=64"}));
  CHECK(value("word_doubt", {"diffusion_iterations=64"}) == value("word_doubt", {"forwards=64"}));
  CHECK(value("word_doubt", {"forwards=100000"}) <= 1);
  CHECK(value("word_doubt", {"forwards=64", "word_doubt=0"}) == 0);
  for (const char* shared : {"letter_doubt", "letter_noise"}) {
    CAPTURE(shared);
    CHECK(value(shared, {"forwards=32"}) == 0);
    CHECK(value(shared, {"forwards=64"}) > value(shared, {"forwards=40"}));
    CHECK(value(shared, {"forwards=128"}) > value(shared, {"forwards=64"}));
    CHECK(value(shared, {"forwards=100000"}) <= 1);
    CHECK(value(shared, {"forwards=64", fmt::format("{}=0.2", shared)}) == 0.2);
    CHECK(value(shared, {"forwards=256", "block_length=32"}) == 0);
  }
  CHECK(value("letter_doubt", {"forwards=8"}) == 0);
  CHECK(value("letter_noise", {"forwards=8"}) > value("letter_noise", {"forwards=16"}));
  CHECK(value("letter_noise", {"forwards=16"}) > 0);
  CHECK(value("letter_noise", {"forwards=1"}) < value("letter_noise", {"forwards=64"}));
  // So many forwards are for all blocks together.
  CHECK(value("new_token_bonus", {"forwards=256", "block_length=32"}) == value("new_token_bonus", {"forwards=32"}));
  CHECK(value("word_doubt", {"forwards=256", "block_length=32"}) == value("word_doubt", {"forwards=32"}));
}

TEST_CASE("no strategy named is the guide's loop, with nothing set") {
  const Config config = settled({});
  CHECK(config.diffusion.strategy->name == "remask");
  CHECK(changes(config).empty());
}

TEST_CASE("top_k filters standard sampling by default, and diffusion where it is given") {
  CHECK(settled({"sampling_method='standard'"}).top_k == 200);
  CHECK(settled({}).top_k == std::nullopt);
  CHECK(settled({"top_k=200"}).top_k == 200);
  CHECK(settled({"sampling_method='standard'", "top_k=None"}).top_k == std::nullopt);
}

TEST_CASE("a strategy leaves what is given, the common default included") {
  CHECK(settled({"strategy='maskgit'", "schedule_type='linear'"}).diffusion.schedule_type == ScheduleType::linear);
  const DiffusionSettings linear =
      settled({"strategy='best'", "schedule_type='linear'", "temperature=0.8", "end_ratio=0.05"}).diffusion;
  CHECK(linear.schedule_type == ScheduleType::linear);
  CHECK_FALSE(linear.schedule_power.has_value());
  CHECK(linear.temperature == 0.8);
  CHECK(linear.end_ratio == 0.05);
  for (const char* strategy : {"strategy='maskgit'", "strategy='best'"}) {
    CHECK(settled({strategy, "masking_ratios=[0.5]"}).diffusion.schedule_type == ScheduleType::custom);
  }
  // An eta that is given does not follow the kind.
  CHECK(settled({"strategy='remdm'", "remdm='rescale'", "eta=0.04"}).diffusion.parameters.number("eta") == 0.04);
}

TEST_CASE("None given to a strategy's parameter is the strategy's own default") {
  for (const Settings& strategy : every_strategy()) {
    for (const Field& field : strategy_fields()) {
      if (can_be_none(field) && field.name != "remdm") {
        CAPTURE(strategy, field.name);
        CHECK(changes(settled(with(strategy, {std::string(field.name) + "=None"}))) == changes(settled(strategy)));
      }
    }
  }
}

TEST_CASE("best ends below the temperature that is given, and greedy has no end") {
  for (const char* temperature : {"temperature=1.5", "temperature=0.1"}) {
    CAPTURE(temperature);
    const Config config = settled({"strategy='best'", temperature});
    REQUIRE(config.diffusion.temperature_end);
    CHECK(*config.diffusion.temperature_end < config.diffusion.temperature);
  }
  CHECK_FALSE(settled({"strategy='best'", "temperature=0"}).diffusion.temperature_end.has_value());
}

TEST_CASE("schedule_type='power' has a power where none is given") {
  CHECK(settled({"schedule_type='power'"}).diffusion.schedule_power.has_value());
  CHECK(changes(settled({"schedule_type='power'", "schedule_power=3"})) ==
        std::set<std::string>{"schedule_type='power'", "schedule_power=3.0"});
}

TEST_CASE("the printed configuration of every strategy feeds back to the same") {
  const std::vector<Settings> more = {
      {}, {"temperature=0"}, {"temperature=0.8"}, {"forwards=32", "block_length=16", "cfg_scale=1.5"}};
  for (const Settings& strategy : every_strategy()) {
    for (const Settings& beside : more) {
      CAPTURE(strategy, beside);
      const std::string printed = print_config(settled(with(strategy, beside)));
      ParsedConfig again;
      for (const Assignment& line : parse_assignments(printed)) {
        CAPTURE(line.key);
        REQUIRE(assign(strategy_field(line.key), line.value, again));
      }
      REQUIRE_NOTHROW(settle(again));
      CHECK(print_config(again.config) == printed);
    }
  }
}

}  // namespace demask
