// docs/coming_from.md: its commands run as they stand there, and its tables name settings that there are.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/text.h"
#include "tests/cli/refusal.h"
#include "tests/support/recipes.h"

using namespace demask::testing;

namespace {

const std::string document = "coming_from.md";

// A small model that stands in for the one that a recipe names, and settings that it cannot do without.
struct StandIn {
  std::string folder, link;  // in tests/fixtures/goldens, and as the recipe calls it
  std::string more = {};     // in place of what the recipe says
};

const std::map<std::string, StandIn> stand_ins = {
    {"llada", {"llada/model", "out/LLaDA-8B-Base"}},
    {"dream", {"dream/model", "out/Dream-v0-Base-7B"}},
    {"dream-greedy", {"dream/model", "out/Dream-v0-Base-7B"}},
    {"mdlm", {"mdlm/model", "out/mdlm-owt", "--sequence_length=48"}},
    {"remdm", {"mdlm/model", "out/mdlm-owt", "--sequence_length=48"}},
    {"llama.cpp", {"dream/model", "out/Dream-v0-Base-7B"}},
    {"llama.cpp-blocks", {"llada/model", "out/LLaDA-8B-Base"}},
    {"nanogpt", {"nanogpt/model", "out-shakespeare"}},
    {"gpt2", {"gpt2/model", "out/gpt2"}},
};

// Runs a recipe in a folder of its own, with demask on its path and `last` after its arguments.
ProcessResult run_recipe(const std::string& name, const std::string& last) {
  const TemporaryFolder site;
  std::filesystem::create_directories(site / "bin");
  std::filesystem::create_directories(site / "out");
  const StandIn& model = stand_ins.at(name);
  std::filesystem::create_directory_symlink(std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/" + model.folder,
                                            site / model.link);
  write_file(site / "bin/demask", "#!/bin/sh\nexec '" DEMASK_BINARY "' --device=cpu --dtype=float32 \"$@\" " +
                                      model.more + " " + last + "\n");
  std::filesystem::permissions(site / "bin/demask", std::filesystem::perms(0755));
  ProcessOptions options;
  options.directory = site.path();
  options.environment = {{"PATH", site / "bin:" + std::string(std::getenv("PATH"))}};
  return run_process({"/bin/sh", "-c", recipe(document, name)}, options);
}

}  // namespace

TEST_CASE("Every recipe has a model that stands in for its own, and settings that go together") {
  std::set<std::string> known, written;
  for (const auto& [name, model] : stand_ins) {
    known.insert(name);
  }
  for (const std::string& name : recipe_names(document)) {
    CHECK(written.insert(name).second);
    const ProcessResult result = run_recipe(name, "--print_config");
    CAPTURE(name, result.err);
    CHECK(result.exit_code == done);
    CHECK(contains(result.out, "checkpoint_name = "));
  }
  CHECK(written == known);
}

TEST_CASE("Every recipe draws its samples") {
  for (const auto& [name, model] : stand_ins) {
    if (!std::filesystem::exists(std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/" + model.folder)) {
      WARN(model.folder << " is not here: the recipe '" << name << "' was not run");
      continue;
    }
    const ProcessResult result = run_recipe(name, "--show_progress=False --output=samples.jsonl");
    CAPTURE(name, result.err);
    CHECK(result.exit_code == done);
    CHECK(contains(result.out, "SAMPLE 1/"));
  }
}

TEST_CASE("Steps of Dream's schedule that reveal nothing are left out, or spent where forwards says so, for one text") {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& name, const std::string& steps) {
    const ProcessResult result = demask::testing::demask(
        {"--checkpoint_name=diffusion.pt", "--strategy=confidence", "--schedule_type=dream", "--temperature=0",
         "--start_text=ROMEO:", "--sequence_length=30", "--num_samples=1", "--device=cpu", "--dtype=float32", steps,
         "--show_progress=False", "--output=" + (folder / name)});
    CAPTURE(result.err);
    REQUIRE(result.exit_code == done);
    return result.out;
  };
  const std::string some = run("some.jsonl", "--diffusion_iterations=32"), all = run("all.jsonl", "--forwards=32");
  CHECK(contains(all, " 33 forwards)"));  // one for the self-confidence
  CHECK_FALSE(contains(some, " 33 forwards)"));
  CHECK(read_json_lines(folder / "some.jsonl").at(0)["tokens"] ==
        read_json_lines(folder / "all.jsonl").at(0)["tokens"]);
}

TEST_CASE("Every strategy that ranks by confidence runs by the filtered distribution") {
  for (const std::string strategy : {"remask", "best", "confidence", "margin", "entropy", "maskgit", "threshold",
                                     "factor", "entropy_bound", "klass", "planner"}) {
    const ProcessResult result = demask::testing::demask(
        {"--checkpoint_name=diffusion.pt", "--strategy=" + strategy, "--confidence_source=filtered", "--top_k=5",
         "--top_p=0.9", "--sequence_length=24", "--diffusion_iterations=6", "--num_samples=2", "--device=cpu",
         "--dtype=float32", "--show_progress=False"});
    CAPTURE(strategy, result.err);
    CHECK(result.exit_code == done);
    CHECK(contains(result.out, "top_k 5, top_p 0.9"));
    CHECK(contains(result.out, "filtered"));
  }
}

TEST_CASE("A line's ids draw what its text draws, and ids that there are not are refused with file and line") {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& prompts, const std::string& output) {
    write_file(folder / "prompts.jsonl", prompts);
    return demask::testing::demask({"--checkpoint_name=diffusion.pt", "--sequence_length=24",
                                    "--diffusion_iterations=4", "--device=cpu", "--dtype=float32",
                                    "--show_progress=False", "--prompts=" + (folder / "prompts.jsonl"),
                                    "--output=" + (folder / output)});
  };
  REQUIRE(run(R"({"id": 1, "start_text": "ROMEO:"})", "text.jsonl").exit_code == done);
  const nlohmann::json sample = read_json_lines(folder / "text.jsonl").at(0);
  nlohmann::json prompt = {{"id", 1}, {"tokens", nlohmann::json::array()}};
  for (size_t i = 0; i < 6; ++i) {
    prompt["tokens"].push_back(sample["tokens"][i]);
  }
  REQUIRE(run(prompt.dump(), "ids.jsonl").exit_code == done);
  CHECK(read_json_lines(folder / "ids.jsonl").at(0)["tokens"] == sample["tokens"]);
  const auto refusal = [&](const std::string& tokens) {
    const ProcessResult result = run("\n{\"id\": 1, \"tokens\": " + tokens + "}", "none.jsonl");
    CHECK(result.exit_code == bad_input);
    return result.err;
  };
  CHECK(contains(refusal("[0, 5000]"), "prompts.jsonl:2: tokens[1] = 5000: must be an id"));
  CHECK(contains(refusal("[0, -5]"), "prompts.jsonl:2: tokens[1] = -5: must be"));
  CHECK(contains(refusal("[0, 1.5]"), "prompts.jsonl:2: tokens[1] = 1.5: must be"));
  CHECK(contains(refusal("[0, 65]"), "prompts.jsonl:2: tokens"));  // the mask
}

TEST_CASE("The settings that the tables name on their right are demask's") {
  const std::string text = read_file(std::string(DEMASK_SOURCE_DIR) + "/docs/" + document);
  const std::string settings = demask::testing::demask({"--print_config"}).out;
  const std::string letters = "abcdefghijklmnopqrstuvwxyz_";
  size_t count = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::vector<std::string_view> cells = demask::split(line, "|");
    if (cells.size() < 4 || !cells[0].empty()) {
      continue;
    }
    const std::vector<std::string_view> parts = demask::split(cells[2], "`");  // every second one is code
    for (size_t part = 1; part < parts.size(); part += 2) {
      std::string code(parts[part]);
      code.erase(0, code.rfind("--", 0) == 0 ? 2 : 0);
      const std::string key = code.substr(0, code.find_first_not_of(letters));
      if (key.size() < 2 || (key.size() < code.size() && code[key.size()] != '=')) {
        continue;  // a value, not a setting
      }
      CAPTURE(line, key);
      CHECK(contains("\n" + settings, "\n" + key + " = "));
      ++count;
    }
  }
  CHECK(count > 30);
}
