// docs/coming_from.md: its commands run as they stand there, and its tables name settings that there are.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>

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

TEST_CASE("The settings that the tables name on their right are demask's") {
  const std::string text = read_file(std::string(DEMASK_SOURCE_DIR) + "/docs/" + document);
  const std::string settings = demask::testing::demask({"--print_config"}).out;
  const std::regex row("\n\\| [^|]+ \\| ([^|\n]+) \\|"), name("`(?:--)?([a-z][a-z_]+)(?:=[^`]*)?`");
  size_t count = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it) {
    const std::string right = (*it)[1].str();
    for (std::sregex_iterator key(right.begin(), right.end(), name); key != end; ++key) {
      CAPTURE(right, (*key)[1].str());
      CHECK(contains("\n" + settings, "\n" + (*key)[1].str() + " = "));
      ++count;
    }
  }
  CHECK(count > 30);
}
