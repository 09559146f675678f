#include "config/generate.h"

#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "config/completion_values.h"
#include "config/fields.h"
#include "sampling/strategies/strategy.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask {
namespace {

using testing::ProcessOptions;
using testing::ProcessResult;
using testing::run_process;
using testing::TemporaryFolder;
using testing::write_file;

using Words = std::set<std::string>;

bool has_program(const std::string& name) {
  return run_process({"sh", "-c", "command -v " + name}).exit_code == 0;
}

Words lines_of(const std::string& text) {
  Words lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.insert(line.substr(0, line.find('\t')));
  }
  return lines;
}

// What each command line offers, in a shell that is given `setup` and `ask`, which prints the words for $1.
std::map<std::string, Words> answers(const std::vector<std::string>& shell, const std::string& script,
                                     const std::vector<std::string>& command_lines, const std::string& folder) {
  std::map<std::string, Words> offered;
  for (const std::string& line : command_lines) {
    std::vector<std::string> arguments = shell;
    arguments.insert(arguments.end(), {script, line});
    ProcessOptions options;
    options.directory = folder;
    const ProcessResult result = run_process(arguments, options);
    INFO(line << ": " << result.err);
    CHECK(result.exit_code == 0);
    CHECK(result.err.empty());
    offered[line] = lines_of(result.out);
  }
  return offered;
}

// A folder to complete names in.
void fill(const TemporaryFolder& folder) {
  CHECK(run_process({"mkdir", "-p", folder / "out", folder / "models", folder / "data/letters"}).exit_code == 0);
  write_file(folder / "out/first.pt", "x");
  write_file(folder / "models/second.pt", "x");
  write_file(folder / "samples.jsonl", "x");
  write_file(folder / "settings.py", "x");
  write_file(folder / "notes.txt", "x");
}

Words strategy_names() {
  Words names;
  for (const Strategy& strategy : strategies()) {
    names.emplace(strategy.name);
  }
  return names;
}

}  // namespace

TEST_CASE("Every key that says where something lies is completed as a path or by its words") {
  for (const Field& field : fields()) {
    INFO(field.name);
    if (field.role == Role::place) {
      CHECK((path_kind(field.name) != PathKind::none || !offered_words(field).empty()));
    }
    if (path_kind(field.name) != PathKind::none) {
      CHECK(is_text(field));
    }
    if (const auto* choices = std::get_if<Choices>(&field.rule); choices != nullptr && is_text(field)) {
      CHECK(offered_words(field).size() >= choices->size());
    }
  }
  CHECK(path_kind("no_such_key") == PathKind::none);
}

TEST_CASE("The man page has every key and strategy, and man finds nothing to warn of") {
  const std::string page = generate(Generated::man);
  for (const Field& field : fields()) {
    std::string name(field.name);
    INFO(name);
    CHECK(page.find("\\-\\-" + name + "=") != std::string::npos);
  }
  for (const std::string& name : strategy_names()) {
    CHECK(page.find("\\fB" + name + "\\fR") != std::string::npos);
  }
  if (!has_program("man")) {
    WARN("man is not installed, so the page is not checked by it");
    return;
  }
  const TemporaryFolder folder;
  write_file(folder / "demask.1", page);
  ProcessOptions options;
  options.environment = {{"LC_ALL", "C.UTF-8"}, {"MANROFFSEQ", ""}, {"MANWIDTH", "100"}};
  const ProcessResult result = run_process({"man", "--warnings", "-l", folder / "demask.1"}, options);
  CHECK(result.exit_code == 0);
  if (result.out.find("unminimize") != std::string::npos) {  // what small images of Ubuntu have in man's place
    WARN("man is not installed, so the page is not checked by it");
    return;
  }
  CHECK(result.err.empty());
  CHECK(result.out.find("--temperature=") != std::string::npos);
}

TEST_CASE("Bash completes keys, choices, files and a strategy's own keys") {
  const TemporaryFolder folder;
  fill(folder);
  write_file(folder / "completion", generate(Generated::bash));
  // As readline calls it, with the words that COMP_WORDBREAKS makes.
  write_file(folder / "ask", R"(source ./completion
compopt() { :; }
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_demask
printf '%s\n' "${COMPREPLY[@]}"
)");
  CHECK(run_process({"bash", "-n", folder / "completion"}).exit_code == 0);
  auto offered = answers({"bash", "--norc"}, "./ask",
                         {"demask --see", "demask --inspect_format=", "demask --strategy=", "demask --checkpoint_name=",
                          "demask --out_dir=models --checkpoint_name=", "demask --dataset=", "demask --output=s",
                          "demask --strategy=remdm --", "demask --strategy=random --", "demask --", "demask s",
                          "demask --live=", "demask --generate="},
                         folder.path());
  CHECK(offered["demask --see"] == Words{"--seed="});
  CHECK(offered["demask --inspect_format="] == Words{"text", "json"});
  CHECK(offered["demask --strategy="] == strategy_names());
  CHECK(offered["demask --checkpoint_name="] == Words{"first.pt"});
  CHECK(offered["demask --out_dir=models --checkpoint_name="] == Words{"second.pt"});
  CHECK(offered["demask --dataset="] == Words{"letters"});
  CHECK(offered["demask --output=s"] == Words{"samples.jsonl", "settings.py"});
  CHECK(offered["demask s"] == Words{"settings.py"});
  CHECK(offered["demask --live="] == Words{"True", "False"});
  CHECK(offered["demask --generate="] == Words{"man", "bash", "zsh", "fish"});
  // Without a strategy all keys; with one those that it takes.
  for (const Field& field : fields()) {
    const std::string key = "--" + std::string(field.name) + "=";
    INFO(key);
    CHECK(offered["demask --"].count(key) == 1);
    for (const char* strategy : {"remdm", "random"}) {
      const bool taken = !field.taken_by || field.taken_by(*find_strategy(strategy));
      CHECK(offered["demask --strategy=" + std::string(strategy) + " --"].count(key) == (taken ? 1 : 0));
    }
  }
}

TEST_CASE("Fish completes keys, choices, files and a strategy's own keys") {
  if (!has_program("fish")) {
    WARN("fish is not installed, so its completions are not tried");
    return;
  }
  const TemporaryFolder folder;
  fill(folder);
  write_file(folder / "completion", generate(Generated::fish));
  write_file(folder / "ask", "source ./completion\ncomplete -C $argv[1]\n");
  const std::string home = folder / "home";
  const auto ask = [&](const std::string& line) {
    ProcessOptions options;
    options.directory = folder.path();
    options.environment = {{"HOME", home}, {"XDG_CONFIG_HOME", home}, {"XDG_DATA_HOME", home}};
    const ProcessResult result = run_process({"fish", "--no-config", "./ask", line}, options);
    INFO(line << ": " << result.err);
    CHECK(result.exit_code == 0);
    return lines_of(result.out);
  };
  CHECK(ask("demask --inspect_f") == Words{"--inspect_format"});
  CHECK(ask("demask --inspect_format=") == Words{"--inspect_format=text", "--inspect_format=json"});
  CHECK(ask("demask --checkpoint_name=") == Words{"--checkpoint_name=first.pt"});
  CHECK(ask("demask --out_dir=models --checkpoint_name=") == Words{"--checkpoint_name=second.pt"});
  const Words random = ask("demask --strategy=random --"), remdm = ask("demask --strategy=remdm --");
  for (const Field* field : keys_of_some_strategies()) {
    const std::string key = "--" + std::string(field->name);
    INFO(key);
    CHECK(random.count(key) == (field->taken_by(*find_strategy("random")) ? 1 : 0));
    CHECK(remdm.count(key) == (field->taken_by(*find_strategy("remdm")) ? 1 : 0));
  }
}

TEST_CASE("Zsh completes keys and choices at its prompt") {
  if (!has_program("zsh")) {
    WARN("zsh is not installed, so its completions are not tried");
    return;
  }
  const TemporaryFolder folder;
  fill(folder);
  write_file(folder / "_demask", generate(Generated::zsh));
  // A shell at a terminal of its own, in which what tabs make of a line becomes the arguments of a function.
  write_file(folder / "ask", R"(zmodload zsh/zpty
zpty shell 'ZDOTDIR=/nonexistent TERM=dumb zsh -f -i'
zpty -w shell 'PS1=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D'
zpty -w shell 'demask() { print -r -- "GO""T:$*:END" }; print REA""DY'
zpty -r shell out '*READY*'
zpty -w -n shell $'demask --inspect_f\tjs\t --strategy=remd\t --dataset=le\t\n'
zpty -r shell out '*GOT:*:END*'
print -r -- ${${out##*GOT:}%%:END*}
zpty -d shell
)");
  ProcessOptions options;
  options.directory = folder.path();
  options.timeout_s = 60;
  const ProcessResult result = run_process({"zsh", "-f", "./ask"}, options);
  INFO(result.out << result.err);
  CHECK(!result.timed_out);
  std::istringstream words(result.out);
  const Words completed{std::istream_iterator<std::string>(words), {}};
  CHECK(completed == Words{"--inspect_format=json", "--strategy=remdm", "--dataset=letters"});
}

}  // namespace demask
