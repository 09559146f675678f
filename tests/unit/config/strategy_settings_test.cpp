// What each strategy sets where nothing is given, and which settings it refuses.
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/fields.h"
#include "config/literal_source.h"
#include "config/printing.h"
#include "config/settle.h"
#include "core/error.h"
#include "tests/support/catch.h"

namespace demask {
namespace {

// Each "key=value", the value as a config file has it.
using Settings = std::vector<std::string>;

const Field& strategy_field(const std::string& name) {
  const Field* field = find_field(name);
  REQUIRE(field != nullptr);
  return *field;
}

ParsedConfig given(const Settings& settings) {
  ParsedConfig parsed;
  for (const std::string& setting : settings) {
    CAPTURE(setting);
    const size_t equals = setting.find('=');
    const auto literal = parse_literal(setting.substr(equals + 1));
    REQUIRE(literal);
    REQUIRE(assign(strategy_field(setting.substr(0, equals)), *literal, parsed));
  }
  return parsed;
}

Config settled(const Settings& settings) {
  ParsedConfig parsed = given(settings);
  settle(parsed);
  return parsed.config;
}

// The message of the Error(bad_usage) that they are refused with; empty where they are accepted.
std::string refusal(const Settings& settings) {
  ParsedConfig parsed = given(settings);
  try {
    settle(parsed);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_usage);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Of a text.
std::string setting(std::string_view key, std::string_view text) {
  return std::string(key) + "='" + std::string(text) + "'";
}

std::string default_of(const Field& field) {
  return std::string(field.name) + "=" + to_source(value_of(field, Config{}));
}

Settings with(Settings settings, const Settings& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

// The keys that differ from their defaults, `strategy` itself left out, and that diffusion has no top_k unless one is
// given.
std::set<std::string> changed(const Config& config) {
  std::set<std::string> keys;
  Config usual;
  if (config.sampling_method == SamplingMethod::diffusion && !config.top_k) {
    usual.top_k.reset();
  }
  for (const Field& field : fields()) {
    if (field.name != "strategy" && !(value_of(field, config) == value_of(field, usual))) {
      keys.emplace(field.name);
    }
  }
  return keys;
}

// The same, each with its value.
std::set<std::string> changes(const Config& config) {
  std::set<std::string> settings;
  for (const std::string& key : changed(config)) {
    settings.insert(key + "=" + to_source(value_of(strategy_field(key), config)));
  }
  return settings;
}

const Choices& all_strategies() {
  return std::get<Choices>(strategy_field("strategy").rule);
}

std::set<std::string> takers(const Field& field) {
  std::set<std::string> names;
  const std::string listed = std::string(field.strategies) + ", ";
  for (size_t start = 0, end = 0; (end = listed.find(", ", start)) != std::string::npos; start = end + 2) {
    names.insert(listed.substr(start, end - start));
  }
  return names;
}

std::vector<Field> strategy_fields() {
  std::vector<Field> found;
  for (const Field& field : fields()) {
    if (!field.strategies.empty()) {
      found.push_back(field);
    }
  }
  return found;
}

// The key with a value that it takes and that is not its default.
std::string other_than_default(const Field& field) {
  for (const char* source : {"0.25", "7", "False", "[0.5]", "'cosine'", "'rescore'", "'rescale'", "'best'", "'dual'"}) {
    ParsedConfig parsed;
    if (assign(field, *parse_literal(source), parsed) &&
        !(value_of(field, parsed.config) == value_of(field, Config{}))) {
      return std::string(field.name) + "=" + source;
    }
  }
  FAIL("no value for " << field.name);
  return "";
}

// What a key needs beside it to make sense.
Settings companions(const std::string& key) {
  if (key == "schedule_power") {
    return {"schedule_type='power'"};
  }
  if (key == "t_on" || key == "t_off" || key == "alpha_on") {
    return {"remdm='loop'"};
  }
  return {};
}

// Every strategy, and every kind of those that have kinds.
std::vector<Settings> every_strategy() {
  std::vector<Settings> all;
  for (const std::string_view name : all_strategies()) {
    all.push_back({setting("strategy", name)});
  }
  for (const std::string_view kind : std::get<Choices>(strategy_field("remdm").rule)) {
    all.push_back({"strategy='remdm'", setting("remdm", kind)});
  }
  return all;
}

}  // namespace

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

TEST_CASE("best keeps more masked for longer where forwards are few, and as long from 32 on") {
  const auto power = [](const char* forwards) {
    return *settled({"strategy='best'", forwards}).diffusion.schedule_power;
  };
  CHECK(power("forwards=4") < power("forwards=16"));
  CHECK(power("forwards=16") < power("forwards=32"));
  CHECK(power("forwards=32") == power("forwards=256"));
  CHECK(power("diffusion_iterations=16") == power("forwards=16"));
  CHECK(*settled({"strategy='best'", "forwards=16", "schedule_power=3"}).diffusion.schedule_power == 3);
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
