// Which settings a strategy takes and which are refused, alone and together.
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "tests/support/catch.h"
#include "tests/unit/config/strategy_settings.h"

namespace demask {

using namespace strategy_settings;

TEST_CASE("a parameter is refused by every strategy that does not take it, with who does") {
  for (const Field& field : strategy_fields()) {
    for (const std::string_view name : all_strategies()) {
      if (takers(field).count(std::string(name)) > 0) {
        continue;
      }
      const std::string strategy = setting("strategy", name), given = other_than_default(field);
      const std::string message = refusal({strategy, given});
      CAPTURE(strategy, given, message);
      CHECK(contains(message, std::string(field.name)));
      CHECK(contains(message, strategy));
      CHECK(contains(message, "taken by " + std::string(field.strategies)));
    }
  }
}

TEST_CASE("a parameter is taken by every strategy that is said to, and stays as given") {
  for (const Field& field : strategy_fields()) {
    const std::string parameter = other_than_default(field);
    for (const std::string& name : takers(field)) {
      CAPTURE(name, parameter);
      CHECK(std::count(all_strategies().begin(), all_strategies().end(), name) == 1);
      const Settings settings = with({setting("strategy", name), parameter}, companions(std::string(field.name)));
      REQUIRE(refusal(settings).empty());
      CHECK(changes(settled(settings)).count(*changes(given({parameter}).config).begin()) == 1);
    }
  }
}

TEST_CASE("a key given at its default is accepted by every strategy") {
  for (const Field& field : fields()) {
    for (const Settings& strategy : every_strategy()) {
      if (field.name != "strategy" && field.name != "remdm") {
        CAPTURE(strategy, default_of(field));
        CHECK(refusal(with(strategy, {default_of(field)})).empty());
      }
    }
  }
}

TEST_CASE("a cache is of blocks, whatever the strategy, and none is of anything") {
  for (const Settings& strategy : every_strategy()) {
    for (const std::string cache : {"cache='prefix'", "cache='dual'"}) {
      CAPTURE(strategy, cache);
      const std::string message = refusal(with(strategy, {cache}));
      CHECK(contains(message, cache));
      CHECK(contains(message, "--block_length=N"));
      CHECK(refusal(with(strategy, {cache, "block_length=16"})).empty());
    }
    CHECK(refusal(with(strategy, {"cache='none'"})).empty());
  }
}

TEST_CASE("standard sampling refuses a strategy and its parameters, and accepts them at their defaults") {
  const Settings standard = {"sampling_method='standard'"};
  for (const Field& field : fields()) {
    if (field.group == strategy_field("strategy").group) {
      const std::string given = other_than_default(field), message = refusal(with(standard, {given}));
      CAPTURE(given, message);
      CHECK(contains(message, std::string(field.name) + " belongs to sampling_method='diffusion'"));
      CHECK(refusal(with(standard, {default_of(field)})).empty());
    }
  }
  CHECK(changes(settled(standard)) == std::set<std::string>(standard.begin(), standard.end()));
}

TEST_CASE("settings that make no sense together are refused with both") {
  struct Case {
    Settings settings;
    std::vector<std::string> parts;
  };
  const Settings remdm = {"strategy='remdm'"}, best = {"strategy='best'"}, planner = {"strategy='planner'"},
                 loop = with(remdm, {"remdm='loop'"}), rescore = {"confidence_source='rescore'"},
                 model = {"remasking_checkpoint_name='r.pt'"};
  const std::vector<Case> cases = {
      {with(remdm, {"t_on=0.5"}), {"t_on", "remdm='loop'", "'cap'"}},
      {with(remdm, {"remdm='conf'", "t_off=0.1"}), {"t_off", "remdm='loop'", "'conf'"}},
      {with(remdm, {"remdm='rescale'", "alpha_on=0.8"}), {"alpha_on", "remdm='loop'", "'rescale'"}},
      {with(remdm, {"eta=1.01"}), {"eta=1.01", "'remdm'", "from 0 to 1"}},
      {with(loop, {"schedule_type='cosine'"}), {"remdm='loop'", "schedule_type", "'cosine'"}},
      {with(loop, {"schedule_type='dream'"}), {"remdm='loop'", "schedule_type", "'dream'"}},
      {{"strategy='threshold'", "schedule_type='dream'"}, {"schedule_type", "'threshold'", "taken by"}},
      {with(best, {"confidence_source='filtered'", "rescored_share=0.2"}), {"confidence_source='filtered'"}},
      {with(loop, {"masking_ratios=[0.5]"}), {"remdm='loop'", "schedule_type", "'custom'"}},
      {with(loop, {"t_on=0.3", "t_off=0.3"}), {"t_on=0.3", "t_off=0.3", "0 < t_off < t_on < 1"}},
      {with(loop, {"t_on=0.04"}), {"t_on=0.04", "t_off=0.05"}},
      {with(loop, {"t_on=1"}), {"t_on=1", "t_on < 1"}},
      {with(loop, {"t_off=0"}), {"t_off=0", "0 < t_off"}},
      {with(loop, {"alpha_on=0"}), {"alpha_on=0", "above 0", "below 1"}},
      {with(loop, {"alpha_on=1"}), {"alpha_on=1", "above 0", "below 1"}},
      {{"temperature_end=0.5", "temperature=0"}, {"temperature_end=0.5", "temperature=0"}},
      {with(best, {"confidence_source='draw'", "rescored_share=0.2"}),
       {"confidence_source='draw'", "rescored_share=0.2"}},
      {with(best, {"temperature_end=0.5", "temperature=0"}), {"temperature_end=0.5", "temperature=0"}},
      {with(rescore, model), {"confidence_source='rescore'", "remasking_checkpoint_name"}},
      {with(planner, with(rescore, model)), {"confidence_source='rescore'", "remasking_checkpoint_name"}},
      {with(rescore, {"intelligent_remasking=False"}), {"confidence_source='rescore'", "intelligent_remasking=False"}},
      {{"schedule_power=2"}, {"schedule_power", "schedule_type='power'", "'linear'"}},
      {{"schedule_power=2", "schedule_type='cosine'"}, {"schedule_power", "'power'", "'cosine'"}},
      {with(best, {"schedule_power=2", "schedule_type='linear'"}), {"schedule_power", "'power'", "'linear'"}},
      {with(best, {"schedule_power=2", "masking_ratios=[0.5]"}), {"schedule_power", "'power'", "'custom'"}},
      {{"strategy='confidence'", "schedule_type='power'"},
       {"schedule_type='power'", "'confidence'", "taken by remask, best"}},
      {{"schedule_type='cosine'", "masking_ratios=[0.5]"}, {"schedule_type='cosine'", "masking_ratios"}},
      {{"forwards=8", "masking_ratios=[0.9, 0.5]"}, {"forwards=8", "masking_ratios"}},
  };
  for (const Case& one : cases) {
    const std::string message = refusal(one.settings);
    CAPTURE(one.settings, message);
    CHECK_FALSE(message.empty());
    for (const std::string& part : one.parts) {
      CAPTURE(part);
      CHECK(contains(message, part));
    }
  }
}

TEST_CASE("settings that only look like a contradiction are accepted") {
  const Settings loop = {"strategy='remdm'", "remdm='loop'"};
  const std::vector<Settings> cases = {
      {"strategy='remdm'", "eta=1"},
      {"strategy='planner'", "eta=1.5"},
      {"strategy='planner'", "remasking_checkpoint_name='r.pt'"},
      {"strategy='planner'", "confidence_source='rescore'"},
      {"strategy='remdm'", "schedule_type='cosine'"},
      {"strategy='ancestral'", "masking_ratios=[0.5]"},
      with(loop, {"t_on=0.99", "t_off=0.01", "alpha_on=0.99"}),
      {"temperature_end=2", "temperature=0.1"},
      {"confidence_source='draw'"},
      {"strategy='margin'", "confidence_source='filtered'", "schedule_type='dream'", "top_k=5"},
      {"strategy='ancestral'", "schedule_type='dream'"},
      {"intelligent_remasking=False"},
  };
  for (const Settings& settings : cases) {
    CAPTURE(settings);
    CHECK(refusal(settings).empty());
  }
}

}  // namespace demask
