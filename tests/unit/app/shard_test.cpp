#include "app/shard.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace demask;
using Catch::Matchers::ContainsSubstring;

namespace {

using Variables = std::map<std::string, std::string>;
using Entries = std::vector<std::pair<int64_t, double>>;

Environment environment_of(const Variables& variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

Shard parse(const std::string& value, const Variables& variables = {}) {
  return parse_shard(value, environment_of(variables));
}

// The message of the Error(bad_usage) that the value must give.
std::string refusal(const std::string& value, const Variables& variables = {}) {
  try {
    parse(value, variables);
  } catch (const Error& error) {
    return error.code() == ExitCode::bad_usage ? error.what() : std::string("other exit code: ") + error.what();
  }
  return "no error";
}

Shard shard(int64_t index, int64_t count) {
  return {index, count, std::nullopt, ""};
}

// Where the shards begin, and where the last ends; checks that each begins where the one before it ends.
std::vector<int64_t> boundaries(const Entries& entries, int64_t count) {
  std::vector<int64_t> found = {0};
  for (int64_t k = 0; k < count; ++k) {
    const auto [first, last] = shard_range(entries, shard(k, count));
    if (first != found.back() || last < first) {
      FAIL("shard " << k << " of " << count << " is [" << first << ", " << last << ") after " << found.back());
    }
    found.push_back(last);
  }
  return found;
}

std::vector<double> cost_of_each_part(const Entries& entries) {
  std::vector<double> costs;
  for (const auto& [count, cost] : entries) {
    costs.insert(costs.end(), static_cast<size_t>(count), cost);
  }
  return costs;
}

// That the shards cover all parts, and none costs more than its share and one part.
void check_shares(const Entries& entries, int64_t count, double rounding = 0.0) {
  const std::vector<double> costs = cost_of_each_part(entries);
  double total = 0;
  double largest = 0;
  for (const double cost : costs) {
    total += cost;
    largest = std::max(largest, cost);
  }
  const std::vector<int64_t> found = boundaries(entries, count);
  REQUIRE(found.back() == static_cast<int64_t>(costs.size()));
  for (size_t k = 0; k + 1 < found.size(); ++k) {
    double cost = 0;
    for (int64_t part = found[k]; part < found[k + 1]; ++part) {
      cost += costs[static_cast<size_t>(part)];
    }
    if (cost > total / static_cast<double>(count) + largest + rounding) {
      FAIL("shard " << k << " of " << count << " costs " << cost << " of " << total);
    }
  }
}

}  // namespace

TEST_CASE("A shard is given as k/n, counted from 0") {
  const Shard given = parse("1/4");
  CHECK(given.index == 1);
  CHECK(given.count == 4);
  CHECK_FALSE(given.local_rank);
  CHECK(given.source == "--shard=1/4");
  CHECK(parse("0/1").count == 1);
  CHECK(parse("999999/1000000").index == 999999);
}

TEST_CASE("A shard that is not k/n is refused with what is allowed") {
  for (const std::string value : {"",
                                  "/",
                                  "1",
                                  "1/",
                                  "/4",
                                  "1/4/8",
                                  " 1/4",
                                  "1/4 ",
                                  "1 /4",
                                  "-1/4",
                                  "1/-4",
                                  "+1/4",
                                  "0/0",
                                  "1/0",
                                  "a/b",
                                  "1.0/4",
                                  "0x1/4",
                                  "0/1000001",
                                  "99999999999999999999/4",
                                  "Auto",
                                  "0/99999999999999999999",
                                  "auto "}) {
    CAPTURE(value);
    const std::string message = refusal(value);
    CHECK_THAT(message, ContainsSubstring("--shard=" + value + ": must be k/n with k from 0 to n - 1"));
    CHECK_THAT(message, ContainsSubstring("or auto"));
  }
}

TEST_CASE("A shard past the last is refused with the last") {
  CHECK_THAT(refusal("4/4"), ContainsSubstring("--shard=4/4: counts from 0, so the last of 4 is 3/4"));
  CHECK_THAT(refusal("7/1"), ContainsSubstring("the last of 1 is 0/1"));
}

TEST_CASE("An overlong shard is not repeated whole") {
  CHECK(refusal(std::string(100000, '1')).size() < 1000);
  CHECK(refusal(std::string(100000, '0') + "4/4").size() < 1000);
  CHECK(refusal("auto", {{"RANK", std::string(100000, 'x')}}).size() < 1000);
}

TEST_CASE("Each launcher's variables say which shard this process is") {
  struct Case {
    Variables variables;
    std::optional<int64_t> local_rank;
    std::string source;
  };
  const std::vector<Case> cases = {
      {{{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}}, 1, "RANK and WORLD_SIZE (torchrun)"},
      {{{"RANK", "5"}, {"WORLD_SIZE", "8"}}, std::nullopt, "RANK and WORLD_SIZE (torchrun)"},
      {{{"OMPI_COMM_WORLD_RANK", "5"}, {"OMPI_COMM_WORLD_SIZE", "8"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}},
       2,
       "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE (Open MPI)"},
      {{{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "3"}}, 3, "PMI_RANK and PMI_SIZE (PMI)"},
      {{{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}, {"PMI_LOCAL_RANK", "0"}}, 0, "PMI_RANK and PMI_SIZE (PMI)"},
      {{{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}}, std::nullopt, "PMI_RANK and PMI_SIZE (PMI)"},
      {{{"PMIX_RANK", "5"}, {"PMIX_SIZE", "8"}, {"SLURM_NTASKS", "9"}}, std::nullopt, "PMIX_RANK and PMIX_SIZE (PMIx)"},
      {{{"PMIX_RANK", "5"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_NTASKS", "9"}, {"SLURM_LOCALID", "4"}},
       4,
       "PMIX_RANK and SLURM_STEP_NUM_TASKS (PMIx)"},
      {{{"PMIX_RANK", "5"}, {"SLURM_NTASKS", "8"}}, std::nullopt, "PMIX_RANK and SLURM_NTASKS (PMIx)"},
      {{{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}},
       1,
       "SLURM_PROCID and SLURM_NTASKS (Slurm)"},
      {{{"SLURM_PROCID", "5"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_NTASKS", "9"}},
       std::nullopt,
       "SLURM_PROCID and SLURM_STEP_NUM_TASKS (Slurm)"},
  };
  for (const Case& launched : cases) {
    CAPTURE(launched.source);
    const Shard found = parse("auto", launched.variables);
    CHECK(found.index == 5);
    CHECK(found.count == 8);
    CHECK(found.local_rank == launched.local_rank);
    CHECK(found.source == launched.source);
  }
}

TEST_CASE("A launcher inside a Slurm job counts before Slurm, torchrun before all") {
  Variables variables = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_LOCALID", "0"}};
  const auto add = [&](const std::string& rank, const std::string& size, const std::string& count) {
    variables[rank] = "1";
    variables[size] = count;
    return parse("auto", variables);
  };
  CHECK(parse("auto", variables).count == 2);
  CHECK(add("PMIX_RANK", "PMIX_SIZE", "3").count == 3);
  CHECK(add("PMI_RANK", "PMI_SIZE", "4").count == 4);
  CHECK(add("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "5").count == 5);
  const Shard outermost = add("RANK", "WORLD_SIZE", "6");
  CHECK(outermost.count == 6);
  CHECK(outermost.index == 1);
  CHECK_FALSE(outermost.local_rank);
}

TEST_CASE("Half a launcher's pair is refused, whichever half") {
  const std::vector<std::vector<std::string>> pairs = {
      {"RANK", "WORLD_SIZE"},     {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"},
      {"PMIX_RANK", "PMIX_SIZE"}, {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},         {"SLURM_PROCID", "SLURM_NTASKS"}};
  for (const auto& pair : pairs) {
    CAPTURE(pair);
    const std::string without_size = refusal("auto", {{pair[0], "3"}});
    CHECK_THAT(without_size, ContainsSubstring(pair[0] + "=3 but no "));
    CHECK_THAT(without_size, ContainsSubstring(pair[1]));
    CHECK_THAT(refusal("auto", {{pair[1], "4"}}), ContainsSubstring(pair[1] + "=4 but no " + pair[0]));
  }
}

TEST_CASE("A variable that is no rank is refused by its name and value") {
  for (const std::string value : {"two", "-1", "1.5", " 1", "99999999999999999999"}) {
    CHECK_THAT(refusal("auto", {{"RANK", value}, {"WORLD_SIZE", "4"}}), ContainsSubstring("RANK=" + value + " is no"));
    CHECK_THAT(refusal("auto", {{"RANK", "0"}, {"WORLD_SIZE", value}}),
               ContainsSubstring("WORLD_SIZE=" + value + " is no"));
    CHECK_THAT(refusal("auto", {{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", value}}),
               ContainsSubstring("LOCAL_RANK=" + value + " is no"));
  }
  CHECK_THAT(refusal("auto", {{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}),
             ContainsSubstring("PMI_RANK=4 must be below PMI_SIZE=4"));
  CHECK_THAT(refusal("auto", {{"RANK", "0"}, {"WORLD_SIZE", "0"}}), ContainsSubstring("WORLD_SIZE=0"));
  CHECK_THAT(refusal("auto", {{"RANK", "0"}, {"WORLD_SIZE", "1000001"}}), ContainsSubstring("at most 1000000"));
}

TEST_CASE("Without a launcher, auto says what it looked for and what to do") {
  const std::string message = refusal("auto", {{"LOCAL_RANK", "1"}, {"SLURM_LOCALID", "1"}});
  for (const char* named : {"torchrun", "WORLD_SIZE", "Open MPI", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK",
                            "SLURM_PROCID", "SLURM_NTASKS", "Give --shard=k/n"}) {
    CHECK_THAT(message, ContainsSubstring(named));
  }
}

TEST_CASE("An environment variable with an empty value counts as unset") {
  const Environment environment = process_environment();
  REQUIRE(::setenv("DEMASK_SHARD_TEST", "7", 1) == 0);
  CHECK(environment("DEMASK_SHARD_TEST") == "7");
  REQUIRE(::setenv("DEMASK_SHARD_TEST", "", 1) == 0);
  CHECK(environment("DEMASK_SHARD_TEST") == std::nullopt);
  REQUIRE(::unsetenv("DEMASK_SHARD_TEST") == 0);
  CHECK(environment("DEMASK_SHARD_TEST") == std::nullopt);
}

TEST_CASE("The shards' names are told apart and sort as the shards do") {
  CHECK(expand_shard_name("out/{shard}-of-{shards}.jsonl", shard(2, 8)) == "out/2-of-8.jsonl");
  CHECK(expand_shard_name("{shard}{shard}", shard(7, 11)) == "0707");
  CHECK(expand_shard_name("{shard}", shard(9, 10)) == "9");
  CHECK(expand_shard_name("{shard}", shard(0, 1)) == "0");
  CHECK(expand_shard_name("{shards}/{ shard}{", shard(3, 1000)) == "1000/{ shard}{");
  CHECK(expand_shard_name("plain", shard(3, 4)) == "plain");
  for (const int64_t count : {1, 2, 10, 11, 100, 101}) {
    std::vector<std::string> names;
    for (int64_t k = 0; k < count; ++k) {
      names.push_back(expand_shard_name("a{shard}b", shard(k, count)));
    }
    CHECK(std::is_sorted(names.begin(), names.end()));
    CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  }
}

TEST_CASE("Only {shard} tells names apart") {
  CHECK(has_shard_field("a{shard}.jsonl"));
  CHECK_FALSE(has_shard_field("a{shards}.jsonl"));
  CHECK_FALSE(has_shard_field("shard"));
}

TEST_CASE("Parts of equal cost are divided evenly, however entries hold them") {
  for (int64_t parts = 0; parts <= 40; ++parts) {
    for (int64_t count = 1; count <= 50; ++count) {
      std::vector<int64_t> even;
      for (int64_t k = 0; k <= count; ++k) {
        even.push_back(parts * k / count);
      }
      const Entries together = {{parts, 0.1}};
      const Entries apart(static_cast<size_t>(parts), {1, 0.1});
      const Entries mixed = {{parts / 3, 512.0}, {0, 512.0}, {parts - parts / 3, 512.0}};
      if (boundaries(together, count) != even || boundaries(apart, count) != even || boundaries(mixed, count) != even) {
        FAIL(parts << " parts among " << count);
      }
    }
  }
}

TEST_CASE("A shard begins with the first part that has its share before it") {
  CHECK(boundaries({{1, 3.0}, {3, 1.0}}, 2) == std::vector<int64_t>{0, 1, 4});
  CHECK(boundaries({{2, 1.0}, {1, 2.0}}, 4) == std::vector<int64_t>{0, 1, 2, 3, 3});
  CHECK(boundaries({{4, 1.0}, {1, 8.0}}, 3) == std::vector<int64_t>{0, 4, 5, 5});
  CHECK(boundaries({{1, 8.0}, {4, 1.0}}, 3) == std::vector<int64_t>{0, 1, 1, 5});
}

TEST_CASE("Without parts every shard is empty") {
  CHECK(boundaries({}, 3) == std::vector<int64_t>{0, 0, 0, 0});
  CHECK(boundaries({{0, 1.0}, {0, 2.0}}, 2) == std::vector<int64_t>{0, 0, 0});
}

TEST_CASE("No shard of parts of whole costs exceeds an even share by more than a part") {
  std::mt19937_64 random(1);
  const auto below = [&random](int64_t limit) { return static_cast<int64_t>(random() % static_cast<uint64_t>(limit)); };
  for (int round = 0; round < 400; ++round) {
    Entries entries;
    const int64_t size = 1 + below(12);
    for (int64_t i = 0; i < size; ++i) {
      entries.emplace_back(below(9), static_cast<double>(1 + below(round % 2 == 0 ? 5 : 100000)));
    }
    check_shares(entries, 1 + below(30));
  }
}

TEST_CASE("Costs that no binary fraction holds lose and duplicate no part") {
  std::mt19937_64 random(2);
  for (int round = 0; round < 400; ++round) {
    Entries entries;
    for (uint64_t i = random() % 12 + 1; i > 0; --i) {
      const double cost = static_cast<double>(random() % 1000 + 1) / 7.0 * (round % 3 == 0 ? 1e-300 : 1e9);
      entries.emplace_back(static_cast<int64_t>(random() % 9), cost);
    }
    check_shares(entries, static_cast<int64_t>(random() % 30 + 1), round % 3 == 0 ? 1e-305 : 1e3);
  }
}

TEST_CASE("Costs of any proportion leave every part in one shard") {
  for (const double small : {5e-324, 1e-300, 1e-20, 1.0}) {
    const Entries entries = {{3, small}, {2, 1e300}, {5, small}};
    for (int64_t count = 1; count < 20; ++count) {
      CHECK(boundaries(entries, count).back() == 10);
    }
  }
}

TEST_CASE("The largest runs overflow nothing") {
  constexpr int64_t each = int64_t{1} << 61;
  const Entries alike = {{each, 1e9}, {each, 1e9}};
  const Entries unlike = {{each, 1e9}, {each, 1e9 - 1}};
  for (const Entries& entries : {alike, unlike}) {
    CHECK(shard_range(entries, shard(999999, 1000000)).second == 2 * each);
    CHECK(shard_range(entries, shard(0, 1000000)).second == shard_range(entries, shard(1, 1000000)).first);
    const int64_t size = shard_range(entries, shard(0, 1000000)).second;
    CHECK(std::abs(size - 2 * each / 1000000) < each / 1000000 / 1000);
  }
}

TEST_CASE("A million entries are divided without a gap") {
  Entries entries;
  int64_t parts = 0;
  for (int64_t i = 0; i < 1000000; ++i) {
    entries.emplace_back(1 + i % 3, static_cast<double>(1 + i * 7919 % 1024));
    parts += entries.back().first;
  }
  CHECK(boundaries(entries, 7).back() == parts);
}
