// Standard streams that take nothing, limits on files, and messages that repeat what cannot be seen.
#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli/refusal.h"

using namespace demask::testing;

namespace streams_test {
namespace {

// As a shell starts it: `redirections` such as "2>&-", `before` such as "ulimit -f 8;".
ProcessResult in_shell(const std::vector<std::string>& arguments, const std::string& redirections,
                       const std::string& before = "", const ProcessOptions& options = {}) {
  std::vector<std::string> command = {"/bin/sh", "-c", before + " exec \"$@\" " + redirections, "sh", DEMASK_BINARY};
  command.insert(command.end(), arguments.begin(), arguments.end());
  ProcessOptions in_tree = options;
  in_tree.directory = DEMASK_SOURCE_DIR;
  return run_process(command, in_tree);
}

std::vector<std::string> joined(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// A pipe whose reader has gone before anything is written.
constexpr const char* into_no_reader = "2>&9 9>&-";
constexpr const char* with_no_reader =
    "pipe=$(mktemp -u); mkfifo \"$pipe\"; exec 8<>\"$pipe\"; exec 9>\"$pipe\"; exec 8>&-; rm \"$pipe\";";

}  // namespace

TEST_CASE("A stderr that takes nothing changes no exit code and no sample") {
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    bool every_way;  // that a stderr takes nothing; else the one that costs a signal
  };
  const std::vector<Case> cases = {
      {{"--checkpoint_name=nope.pt"}, bad_input, false},  // an error
      {{"--no_such_key=1"}, bad_usage, false},            // one before anything is read
      {quick({"--start_ratio=0.1", "--end_ratio=0.9", "--show_progress=True", "--use_verbose_logging=True",
              "--log_debug=True"}),
       done, true},                           // a notice, progress and views
      {quick({"--live=True"}), done, false},  // which has no terminal here
  };
  for (const auto& [arguments, exit_code, every_way] : cases) {
    CAPTURE(arguments);
    const ProcessResult heard = in_shell(arguments, "");
    CHECK(heard.exit_code == exit_code);
    for (const auto& [redirection, before] : {std::pair(into_no_reader, with_no_reader), std::pair("2>/dev/full", ""),
                                              std::pair("2>&-", ""), std::pair("0<&- 2>&-", "")}) {
      if (!every_way && redirection != into_no_reader) {
        continue;
      }
      CAPTURE(redirection);
      const ProcessResult unheard = in_shell(arguments, redirection, before);
      CHECK(unheard.exit_code == exit_code);
      CHECK(unheard.err.empty());
      const auto without_times = [](const std::string& out) { return out.substr(0, out.find("\nGenerated ")); };
      CHECK(without_times(unheard.out) == without_times(heard.out));
    }
  }
}

TEST_CASE("Files that a run writes do not take the place of closed streams") {
  const TemporaryFolder folder;
  for (const std::string name : {"samples.txt", "samples.jsonl"}) {
    const std::string heard = folder / ("heard-" + name), unheard = folder / ("unheard-" + name);
    const auto arguments = [](const std::string& output) {
      return quick({"--start_ratio=0.1", "--end_ratio=0.9", "--show_progress=True", "--output=" + output});
    };
    CHECK(in_shell(arguments(heard), "").exit_code == done);
    CHECK(in_shell(arguments(unheard), "0<&- 2>&-").exit_code == done);
    for (const std::string& path : {heard, unheard}) {
      CHECK_FALSE(contains(read_file(path), "Notice"));
      CHECK_FALSE(contains(read_file(path), "Iteration"));
    }
    const auto size = [](const std::string& path) { return read_file(path).size(); };
    if (name == "samples.jsonl") {
      CHECK(size(heard) == size(unheard));
    }
  }
}

TEST_CASE("A signal stops a run whose stderr takes nothing as it stops any other") {
  const TemporaryFolder folder;
  for (const auto& [redirection, before] :
       {std::pair("2>/dev/full", ""), std::pair("2>&-", ""), std::pair(into_no_reader, with_no_reader)}) {
    CAPTURE(redirection);
    const std::string output = folder / "samples.jsonl";
    ProcessOptions options;
    options.interrupt_on_file = output;
    options.signal = SIGTERM;
    const ProcessResult result =
        in_shell(quick({"--device=cpu", "--num_samples=100000", "--batch_size=1", "--output=" + output}), redirection,
                 before, options);
    CHECK(result.exit_code == was_terminated);
    CHECK(!read_objects(output).empty());  // throws where a line is not whole
    std::filesystem::remove(output);
  }
}

TEST_CASE("A stdout that takes nothing fails whatever it was to hold") {
  struct Case {
    std::vector<std::string> arguments;
    std::string redirection, reason;
  };
  const std::string full = "No space left on device", closed = "Bad file descriptor";
  const std::vector<Case> cases = {
      {{"--version"}, ">&-", closed},  {{"--help"}, ">/dev/full", full}, {{"--print_config"}, ">/dev/full", full},
      {quick({}), ">/dev/full", full}, {quick({}), ">&-", closed},       {quick({}), "0<&- >&-", closed}};
  for (const auto& [arguments, redirection, reason] : cases) {
    CAPTURE(arguments, redirection);
    const ProcessResult result = in_shell(arguments, redirection);
    CHECK(result.exit_code == failed);
    CHECK(contains(result.err, "'standard output'"));
    CHECK(contains(result.err, reason));
  }
  CHECK(in_shell(quick({}), ">&- 2>&-").exit_code == failed);
}

TEST_CASE("A closed stdin is one without prompts") {
  const ProcessResult result = in_shell(quick({"--prompts=-"}), "<&-");
  CHECK(result.exit_code == bad_input);
  CHECK(contains(result.err, "standard input"));
}

TEST_CASE("A limit on the size of files ends a run with the file's name and whole lines") {
  const TemporaryFolder folder;
  constexpr const char* limit = "ulimit -S -f 8;";  // in blocks of 512 bytes
  const std::vector<std::string> many = quick({"--num_samples=200", "--batch_size=20"});
  for (const std::string name : {"samples.jsonl", "samples.txt"}) {
    const std::string output = folder / name;
    const ProcessResult result = in_shell(joined(many, {"--output=" + output}), "", limit);
    CAPTURE(result.err);
    CHECK(result.exit_code == failed);
    CHECK(contains(result.err, "'" + output + "'"));
    CHECK(contains(result.err, "File too large"));
  }
  const auto objects = read_objects(folder / "samples.jsonl");  // throws where a line is not whole
  CHECK(objects.size() > 1);
  CHECK(read_file(folder / "samples.jsonl").back() == '\n');
  CHECK(names_in(folder.path()) == std::vector<std::string>{"samples.jsonl"});  // the other is whole or not there

  const ProcessResult to_stdout = in_shell(many, ">" + (folder / "stdout"), limit);
  CHECK(to_stdout.exit_code == failed);
  CHECK(contains(to_stdout.err, "'standard output'"));
  const ProcessResult to_stderr =
      in_shell(joined(many, {"--use_verbose_logging=True"}), "2>" + (folder / "stderr"), limit);
  CHECK(to_stderr.exit_code == done);
  const ProcessResult page = in_shell(joined(many, {"--report=" + (folder / "page.html")}), "", limit);
  CHECK(page.exit_code == failed);
  CHECK(contains(page.err, "page.html"));
}

TEST_CASE("A message shows what is invisible in what it repeats, and is whole behind a NUL") {
  const auto message = [](const std::vector<std::string>& arguments) {
    return demask::testing::demask(quick(arguments)).err;
  };
  CHECK(contains(message({"--device=cpu\u00A0"}), "--device=cpu\\xa0: must be"));
  CHECK(contains(message({"--stra\u200Btegy=best"}), "unknown key --stra\\u200btegy; did you mean --strategy?"));
  CHECK(contains(message({"\u202E--seed=1"}), "\\u202e--seed=1"));
  CHECK(contains(message({"--checkpoint_name=no\x1b[2Jpe\u200F.pt"}), "no\\x1b[2Jpe\\u200f.pt"));
  CHECK(contains(message({"--start_text='a\\x00b'"}), "not in the vocabulary: '\\x00'. Change the text"));
  CHECK(contains(message({"--start_text=a\u00A0\uFEFF\u2067é"}), "'\\xa0', '\\ufeff', '\\u2067', 'é'"));
  const std::string notice = message({"--start_text=a\u00A0b", "--unknown_chars=skip"});
  CHECK(contains(notice, "Notice: dropped from start_text"));
  CHECK(contains(notice, ": '\\xa0'\n"));

  const TemporaryFolder folder;
  write_file(folder / "list.jsonl", "{\"id\": 1, \"start\u200B_text\": \"a\"}\n{\"id\": \"\\u0000\u202E\"}\n");
  CHECK(contains(message({"--prompts=" + (folder / "list.jsonl")}), "unknown key \"start\\u200b_text\""));
  write_file(folder / "settings.json", "{\"device\": \"c\\u0000pu\uFEFF\"}");
  CHECK(contains(message({folder / "settings.json"}), "\\x00pu\\ufeff'"));
}

TEST_CASE("A byte order mark before a text in a file is no part of the text") {
  const TemporaryFolder folder;
  write_file(folder / "plain.txt", "To be");
  write_file(folder / "marked.txt", "\xEF\xBB\xBFTo be");
  const auto text = [&](const std::string& name) {
    const std::string output = folder / "samples.jsonl";
    const ProcessResult result =
        demask::testing::demask(quick({"--start_text=FILE:" + (folder / name), "--output=" + output}));
    CAPTURE(result.err);
    CHECK(result.exit_code == done);
    return read_json_lines(output).at(0)["text"].get<std::string>();
  };
  CHECK(text("marked.txt") == text("plain.txt"));
  CHECK(text("marked.txt").substr(0, 5) == "To be");
}

}  // namespace streams_test
