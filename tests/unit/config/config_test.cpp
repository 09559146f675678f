#include "config/config.h"

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "config/fields.h"
#include "config/literal_source.h"
#include "config/printing.h"
#include "config/settle.h"
#include "core/error.h"
#include "sampling/strategies/strategy.h"
#include "tests/support/catch.h"

namespace demask {
namespace {

const Field& field_named(const std::string& name) {
  const Field* field = find_field(name);
  REQUIRE(field != nullptr);
  return *field;
}

bool accepts(const std::string& key, const std::string& source) {
  const auto literal = parse_literal(source);
  REQUIRE(literal);
  ParsedConfig parsed;
  return assign(field_named(key), *literal, parsed);
}

// The fields of the table at which two configurations differ.
std::set<std::string> differences(const Config& left, const Config& right) {
  std::set<std::string> keys;
  for (const Field& field : fields()) {
    if (!(value_of(field, left) == value_of(field, right))) {
      keys.emplace(field.name);
    }
  }
  return keys;
}

Config read_back(const std::string& source) {
  ParsedConfig parsed;
  for (const Assignment& line : parse_assignments(source)) {
    CAPTURE(line.key);
    CHECK(assign(field_named(line.key), line.value, parsed));
  }
  return parsed.config;
}

TEST_CASE("the table has every member of Config, of its diffusion settings, and every strategy's parameter once") {
  // A member more or fewer no longer compiles here: add it to the table and to these lists. That no two keys share a
  // member is shown below, where each is changed and no other key changes with it.
  const Config config;
  const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
               m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44,
               m45, m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59] = config;
  const auto members =
      std::tie(m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23,
               m24, m25, m26, m27, m28, m29, m30, m31, m32, m33, m34, m35, m36, m37, m38, m39, m40, m41, m42, m43, m44,
               m45, m46, m47, m48, m49, m50, m51, m52, m53, m54, m55, m56, m57, m58, m59);
  const auto& [d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16, d17] = config.diffusion;
  const auto settings = std::tie(d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16, d17);
  std::set<std::string_view> parameters, names;
  for (const Strategy& strategy : strategies()) {
    for (const Parameter& parameter : strategy.parameters) {
      parameters.insert(parameter.name);
    }
  }
  for (const Field& field : fields()) {
    names.insert(field.name);
  }
  // Of these, Config::diffusion and DiffusionSettings::parameters hold others.
  CHECK(fields().size() ==
        std::tuple_size_v<decltype(members)> - 1 + std::tuple_size_v<decltype(settings)> - 1 + parameters.size());
  CHECK(names.size() == fields().size());
}

TEST_CASE("every default is a value that its own key takes, and every key has a group and help") {
  for (const Field& field : fields()) {
    CAPTURE(field.name);
    ParsedConfig parsed;
    CHECK(assign(field, value_of(field, Config{}), parsed));
    CHECK(parsed.given == std::set<std::string>{std::string(field.name)});
    CHECK_FALSE(field.group.empty());
    CHECK_FALSE(field.help.empty());
  }
}

TEST_CASE("a printed configuration reads back to the same, whatever key was changed") {
  const std::vector<Literal> candidates = {Literal{std::string("it's \"q\"\n\t\\ \xC3\xA9 # not a comment")},
                                           Literal{std::string("skip")},
                                           Literal{std::string("done")},
                                           Literal{std::string("json")},
                                           Literal{std::string("standard")},
                                           Literal{std::string("cuda:1")},
                                           Literal{std::string("float16")},
                                           Literal{std::string("custom")},
                                           Literal{std::string("margin")},
                                           Literal{std::string("draw")},
                                           Literal{std::string("loop")},
                                           Literal{std::string("correct")},
                                           Literal{std::string("pseudo")},
                                           Literal{std::string("dual")},
                                           Literal{std::string("\xE2\x82\xAC")},
                                           Literal{int64_t{7}},
                                           Literal{0.1 + 0.2},
                                           Literal{true},
                                           Literal{false},
                                           Literal{std::vector<Literal>{Literal{0.1 + 0.2}, Literal{1e-7}}},
                                           Literal{std::vector<Literal>{Literal{int64_t{0}}, Literal{int64_t{12}}}},
                                           Literal{}};
  Config all_changed;
  for (const Field& field : fields()) {
    CAPTURE(field.name);
    std::set<std::string> tried;
    for (const Literal& candidate : candidates) {
      ParsedConfig parsed;
      if (!assign(field, candidate, parsed) || value_of(field, parsed.config) == value_of(field, Config{})) {
        continue;
      }
      CHECK(differences(parsed.config, Config{}) == std::set<std::string>{std::string(field.name)});
      CHECK(differences(read_back(print_config(parsed.config)), parsed.config).empty());
      tried.insert(to_source(candidate));
    }
    // init_from has a single value.
    CHECK(tried.empty() == (field.name == "init_from"));
  }
}

TEST_CASE("values at the edge of a range are taken, those past it are not") {
  struct Case {
    std::string key;
    std::vector<std::string> taken;
    std::vector<std::string> refused;
  };
  const std::vector<Case> cases = {
      {"sampling_method", {"'diffusion'", "'standard'"}, {"'Diffusion'", "''", "None", "1"}},
      {"init_from", {"'resume'"}, {"'gpt2'", "'scratch'", "None"}},
      {"score_method", {"'auto'", "'exact'", "'bound'", "'pseudo'"}, {"'Exact'", "None", "1"}},
      {"score_draws", {"1", "1000000"}, {"0", "1000001", "1.5", "None"}},
      {"best_of", {"1", "1000"}, {"0", "1001", "None"}},
      {"num_samples", {"1", "1000"}, {"0", "-1", "None", "2.0", "1e3", "True", "'4'", "9223372036854775807"}},
      {"first_sample", {"0", "5"}, {"-1", "9223372036854775807"}},
      {"batch_size", {"1", "None"}, {"0", "-3", "1.5"}},
      {"sequence_length", {"1", "512"}, {"0", "-5", "'512'"}},
      {"max_new_tokens", {"1"}, {"0", "-1"}},
      {"mask_token_id", {"0", "65", "None"}, {"-1", "1.0"}},
      {"diffusion_iterations", {"1"}, {"0", "-1", "10.0"}},
      {"start_ratio", {"0", "1", "0.0", "1.0", "0.5"}, {"-0.01", "1.01", "True", "None"}},
      {"end_ratio", {"0", "1"}, {"-1", "2"}},
      {"randomness_strength", {"0", "1"}, {"-0.1", "1.1"}},
      {"top_p", {"1", "0.001"}, {"0", "0.0", "-0.5", "1.001", "2"}},
      {"temperature", {"0", "2.5"}, {"-0.1", "True", "'hot'", "[1]"}},
      {"std_temperature", {"0", "0.8"}, {"-1"}},
      {"repetition_penalty", {"0.5", "2"}, {"0", "-1"}},
      {"repetition_window", {"0", "10"}, {"-1"}},
      {"top_k", {"1", "None"}, {"0", "-1", "1.0"}},
      {"seed", {"-1", "0", "9223372036854775807"}, {"-2", "0.0", "None"}},
      {"schedule_type", {"'linear'", "'custom'", "'cosine'", "'power'"}, {"'square'"}},
      {"masking_ratios",
       {"[0.9]", "[0, 1]", "(0.5, 0.25)", "None"},
       {"[]", "[1.1]", "[-0.1]", "['a']", "[True]", "[[0.5]]", "0.5"}},
      {"mask_char", {"'#'", "'_'", R"('\u20ac')", R"('\U0001F600')"}, {"''", "'##'", R"('\u00e9x')", "None"}},
      {"unknown_chars", {"'error'", "'skip'"}, {"'ignore'"}},
      {"remasking_positive_class", {"'wrong'", "'correct'"}, {"1"}},
      {"dtype", {"'auto'", "'float32'", "'bfloat16'", "'float16'", "'int8'"}, {"'float64'"}},
      {"device",
       {"'auto'", "'cpu'", "'cuda'", "'cuda:0'", "'cuda:12'", "'cuda:0,1'", "'cuda:3,0,12'"},
       {"'cuda:'", "'cuda:x'", "'cuda:-1'", "'cuda:100'", "'mps'", "''", "'cuda:0,'", "'cuda:,1'", "'cuda:0,cpu'",
        "'cuda:0,cuda:1'", "'cuda:0, 1'", "'cpu,cuda:0'", "'cuda,1'"}},
      {"compile", {"True", "False"}, {"1", "0", "'True'", "None"}},
      {"batch_invariant", {"True", "False"}, {"1", "None"}},
      {"checkpoint_name", {"'a.pt'", "None"}, {"1", "True"}},
      {"out_dir", {"'out'"}, {"None", "3"}},
  };
  for (const Case& one : cases) {
    for (const std::string& source : one.taken) {
      CAPTURE(one.key, source);
      CHECK(accepts(one.key, source));
    }
    for (const std::string& source : one.refused) {
      CAPTURE(one.key, source);
      CHECK_FALSE(accepts(one.key, source));
    }
  }
}

TEST_CASE("a mask character is one code point of valid UTF-8") {
  ParsedConfig parsed;
  const Field field = field_named("mask_char");
  for (const char* text :
       {"\x7F", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    CHECK(assign(field, Literal{std::string(text)}, parsed));
  }
  for (const char* text : {"\x80", "\xFF", "\xC1\x80", "\xC3", "\xC3(", "\xE0\x9F\xBF", "\xED\xA0\x80",
                           "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x90\x80\x80\x80"}) {
    CAPTURE(to_source(Literal{std::string(text)}));
    CHECK_FALSE(assign(field, Literal{std::string(text)}, parsed));
  }
}

TEST_CASE("a refused value changes nothing") {
  ParsedConfig parsed;
  CHECK_FALSE(assign(field_named("top_p"), Literal{2.0}, parsed));
  CHECK(parsed.config.top_p == 1.0);
  CHECK(parsed.given.empty());
}

TEST_CASE("nanoGPT's start is start_text") {
  CHECK(find_field("start") == find_field("start_text"));
  CHECK(find_field("") == nullptr);
  CHECK(find_field("top-p") == nullptr);
}

TEST_CASE("the nearest key is the one with the fewest edits") {
  CHECK(nearest_name("temprature") == "temperature");
  CHECK(nearest_name("top-p") == "top_p");
  CHECK(nearest_name("num_sample") == "num_samples");
  CHECK(nearest_name("maskingratios") == "masking_ratios");
  CHECK(nearest_name("log_debg") == "log_debug");
  CHECK_FALSE(nearest_name(std::string(100000, 'x')).empty());
}

TEST_CASE("masking ratios alone make the schedule custom") {
  ParsedConfig parsed;
  REQUIRE(assign(field_named("masking_ratios"), *parse_literal("[0.5]"), parsed));
  settle(parsed);
  CHECK(parsed.config.diffusion.schedule_type == ScheduleType::custom);
}

TEST_CASE("keys that contradict each other are refused") {
  ParsedConfig linear;
  REQUIRE(assign(field_named("masking_ratios"), *parse_literal("[0.5]"), linear));
  REQUIRE(assign(field_named("schedule_type"), *parse_literal("'linear'"), linear));
  CHECK_THROWS_AS(settle(linear), Error);

  ParsedConfig custom;
  REQUIRE(assign(field_named("schedule_type"), *parse_literal("'custom'"), custom));
  try {
    settle(custom);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_usage);
    CHECK(std::string(error.what()).find("masking_ratios") != std::string::npos);
  }
}

TEST_CASE("the live view excludes the views that print beside it") {
  for (const std::string other : {"use_verbose_logging", "log_debug"}) {
    ParsedConfig parsed;
    REQUIRE(assign(field_named("live"), *parse_literal("True"), parsed));
    settle(parsed);
    REQUIRE(assign(field_named(other), *parse_literal("True"), parsed));
    try {
      settle(parsed);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ExitCode::bad_usage);
      CHECK(std::string(error.what()).find("live=True and " + other + "=True") == 0);
    }
  }
}

TEST_CASE("temperature is also std_temperature, under standard sampling, where only the former is given") {
  const auto std_temperature = [](const std::vector<std::pair<std::string, std::string>>& settings) {
    ParsedConfig parsed;
    for (const auto& [key, source] : settings) {
      REQUIRE(assign(field_named(key), *parse_literal(source), parsed));
    }
    settle(parsed);
    return parsed.config.std_temperature;
  };
  CHECK(std_temperature({{"temperature", "0.5"}, {"sampling_method", "'standard'"}}) == 0.5);
  CHECK(std_temperature({{"temperature", "0.5"}, {"sampling_method", "'standard'"}, {"std_temperature", "0.9"}}) ==
        0.9);
  CHECK(std_temperature({{"temperature", "0.5"}}) == 0.8);
  CHECK(std_temperature({{"sampling_method", "'standard'"}}) == 0.8);
}

}  // namespace
}  // namespace demask
