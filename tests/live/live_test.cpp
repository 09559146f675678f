// The live view of the real program in a real terminal.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/live/tmux.h"
#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/demask.h"

using namespace demask::testing;

namespace {

constexpr int columns = 80, rows = 24;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A terminal in which demask is started, with what is needed to see that it was left as it was found.
class Run {
 public:
  explicit Run(const std::string& arguments, const std::string& environment = "") : terminal(columns, rows) {
    const std::string program = "sh -c 'echo $$ > " + (folder / "pid") + "; exec env " + environment + " " +
                                DEMASK_BINARY + " --live=True --device=cpu --dtype=float32 " + arguments + "'";
    write_file(folder / "run.sh", "ulimit -c 0\nstty -g > " + (folder / "before") + "\nclear\n" + program +
                                      "\necho code=$?\nstty -g > " + (folder / "after") + "\necho the end\n");
    terminal.type_line(". " + (folder / "run.sh"));
  }

  // The number in the header behind `word`; -1 where there is none.
  double in_header(const std::string& word) const {
    const std::string header = terminal.rows().at(0);
    const size_t start = header.find(word);
    return start == std::string::npos ? -1 : std::strtod(header.c_str() + start + word.size(), nullptr);
  }
  int64_t step() const { return static_cast<int64_t>(std::max(in_header("Iteration "), in_header("Token "))); }
  // The masked share stands behind the step, "3/20  43.6% masked".
  double masked_percent() const {
    const std::string header = terminal.rows().at(0);
    const size_t end = header.find("% masked");
    return end == std::string::npos ? -1 : std::strtod(header.c_str() + header.rfind(' ', end), nullptr);
  }
  bool reaches(int64_t wanted) const {
    return Tmux::wait_until([&] { return step() >= wanted; });
  }
  bool pauses() const {
    terminal.press("Space");
    return Tmux::wait_until([&] { return contains(terminal.rows().at(0), "paused"); });
  }
  // Text of the sample, `width` cells a row.
  std::vector<std::string> body() const {
    std::vector<std::string> all = terminal.rows();
    return {all.begin() + 1, all.end() - 2};
  }
  void send(int signal_number) const { REQUIRE(::kill(pid(), signal_number) == 0); }
  // Two signals of a kind before the first is taken would be one.
  void told_to_stop() const { REQUIRE(terminal.wait_for("stopping after the batch")); }
  // Whatever is left of the batch.
  void end_at_once(const std::string& key = "C-c") const {
    terminal.press(key);
    told_to_stop();
    terminal.press("C-c");
  }
  pid_t pid() const { return static_cast<pid_t>(std::stol(read_file(folder / "pid"))); }

  bool modes_are_restored() const { return read_file(folder / "before") == read_file(folder / "after"); }
  // The run has ended with this code, and the terminal is as it was before.
  void check_left_clean(int code) const {
    const bool ended = terminal.wait_for("the end");
    CAPTURE(terminal.all_text());
    CHECK(ended);
    CHECK(contains(terminal.all_text(), "code=" + std::to_string(code) + "\n"));
    CHECK(terminal.format("#{alternate_on} #{cursor_flag} #{wrap_flag}") == "0 1 1");
    CHECK(modes_are_restored());
    // Nothing is left of colours and attributes.
    const std::string styled = terminal.styled_text();
    CHECK_FALSE(contains(styled.substr(std::min(styled.rfind("the end"), styled.size())), "\x1b["));
  }

  TemporaryFolder folder;
  Tmux terminal;
};

// Runs that last until they are ended, in steps that take little time each.
const std::string endless = "--num_samples=3 --sequence_length=100 --diffusion_iterations=100000 ";
// Steps enough to be paused among them, and work so little that what is in flight ends in time on a busy machine.
const std::string short_batch =
    "--num_samples=3 --sequence_length=16 --diffusion_iterations=60 --intelligent_remasking=False ";

std::vector<std::string> code_points_of(const std::string& text) {
  std::vector<std::string> points;
  for (const char byte : text) {
    if ((static_cast<unsigned char>(byte) & 0xC0U) == 0x80) {
      points.back() += byte;
    } else {
      points.emplace_back(1, byte);
    }
  }
  return points;
}

std::string joined(const std::vector<std::string>& lines, size_t width) {
  std::string text;
  for (const std::string& line : lines) {
    const size_t cells = code_points_of(line).size();
    text += line + std::string(cells < width ? width - cells : 0, ' ');
  }
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

// Whether SGR parameters choose a colour; tmux itself writes 39 and 49, for none.
bool has_colour(const std::string& styled) {
  for (size_t at = styled.find("\x1b["); at != std::string::npos; at = styled.find("\x1b[", at + 1)) {
    std::istringstream parameters(styled.substr(at + 2, styled.find('m', at) - at - 2));
    for (std::string parameter; std::getline(parameters, parameter, ';');) {
      const int64_t value = parameter.empty() ? 0 : std::stoll(parameter);
      if ((value >= 30 && value < 39) || (value >= 40 && value < 49) || value >= 90) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

TEST_CASE("A text is filled in place while its masked share falls") {
  const Run run("--strategy=confidence --sequence_length=300 --diffusion_iterations=200 --num_samples=2");
  REQUIRE(run.reaches(2));
  REQUIRE(run.pauses());
  double share = 100;
  std::vector<std::string> before;
  for (int i = 0; i < 4; ++i) {
    const int64_t step = run.step();
    const double now = run.masked_percent();
    CHECK(now < share);
    CHECK(now > 0);
    share = now;
    // This strategy masks nothing again: what is visible stays, where it is.
    const std::vector<std::string> after = code_points_of(joined(run.body(), columns));
    CHECK(after.size() == 300);
    for (size_t cell = 0; cell < before.size(); ++cell) {
      CHECK((before[cell] == "·" || before[cell] == after.at(cell)));
    }
    before = after;
    run.terminal.press(".");
    REQUIRE(run.reaches(step + 1));
    CHECK(run.step() == step + 1);
  }
  CHECK(run.terminal.format("#{history_size}") == "0");
  run.end_at_once("q");
  run.check_left_clean(130);
}

TEST_CASE("Word pieces flow, as wide as their text, around masks of one cell") {
  constexpr int64_t length = 80;
  const Run run(
      "--checkpoint_name=english.pt --meta_path=data/english/tokenizer.json --strategy=random "
      "--diffusion_iterations=40 --num_samples=1 --sequence_length=80 --start_text=\"The house \xf0\x9f\x98\x80 "
      "stood\"");
  REQUIRE(run.reaches(16));
  REQUIRE(run.pauses());
  run.terminal.press("l");  // line ends as arrows, so that all of it is on the screen
  const auto solid = [&] {
    std::string text;
    for (const std::string& row : run.body()) {
      text += row;
    }
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    return text;
  };
  const std::string before = solid();
  CAPTURE(run.terminal.text());
  CHECK(before.find("Thehouse\xf0\x9f\x98\x80stood") == 0);
  const std::vector<std::string> points = code_points_of(before);
  const auto masks = std::count(points.begin(), points.end(), "·");
  CHECK(masks > 0);
  CHECK(masks == std::lround(run.masked_percent() * length / 100));
  CHECK(points.size() > length);
  run.terminal.resize(50, rows);
  CHECK(Tmux::wait_until([&] { return solid() == before; }));
  run.end_at_once("q");
  run.check_left_clean(130);
}

TEST_CASE("A pause holds the frame until it ends") {
  const Run run(endless);
  REQUIRE(run.reaches(2));
  REQUIRE(run.pauses());
  const std::string held = run.terminal.text();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  CHECK(run.terminal.text() == held);
  const int64_t step = run.step();
  run.terminal.press("Space");
  CHECK(run.reaches(step + 2));
  run.end_at_once();
  run.check_left_clean(130);
}

TEST_CASE("The samples of a batch are switched between by keys") {
  const Run run(endless + "--first_sample=5");
  REQUIRE(run.reaches(1));
  REQUIRE(run.pauses());
  const std::string first = joined(run.body(), columns);
  const auto shows = [&](const std::string& sample) {
    return Tmux::wait_until([&] { return contains(run.terminal.rows().at(0), "Sample " + sample); });
  };
  CHECK(shows("1/3 (index 5)"));
  run.terminal.press("n");
  CHECK(shows("2/3 (index 6)"));
  CHECK(joined(run.body(), columns) != first);
  run.terminal.press("Tab");
  CHECK(shows("3/3"));
  run.terminal.press("Right");
  CHECK(shows("1/3"));
  CHECK(joined(run.body(), columns) == first);
  run.terminal.press("Left");
  CHECK(shows("3/3"));
  run.terminal.press("p");
  CHECK(shows("2/3"));
  run.terminal.press("1");
  CHECK(shows("1/3"));
  run.end_at_once("q");
  run.check_left_clean(130);
}

TEST_CASE("A resized terminal is filled anew, however small it gets") {
  const Run run("--num_samples=1 --sequence_length=300 --diffusion_iterations=100000");
  REQUIRE(run.reaches(2));
  REQUIRE(run.pauses());
  const std::string before = joined(run.body(), columns);
  CHECK(code_points_of(before).size() == 300);
  for (const auto& [new_columns, new_rows] : std::vector<std::pair<int, int>>{{50, 20}, {2, 2}, {120, 30}, {61, 12}}) {
    run.terminal.resize(new_columns, new_rows);
    if (new_columns > 40) {
      CAPTURE(new_columns, run.terminal.text());
      CHECK(Tmux::wait_until([&, width = static_cast<size_t>(new_columns)] {
        return joined(run.body(), width) == before && contains(run.terminal.rows().back(), "q quit");
      }));
    }
  }
  run.end_at_once("q");
  run.check_left_clean(130);
}

TEST_CASE("Colours are used unless NO_COLOR forbids them") {
  {
    const Run run(endless);
    REQUIRE(run.reaches(3));
    CHECK(has_colour(run.terminal.styled_text()));
  }
  const Run run(endless, "NO_COLOR=1");
  REQUIRE(run.reaches(3));
  REQUIRE(run.pauses());
  const std::string styled = run.terminal.styled_text();
  CHECK_FALSE(has_colour(styled));
  CHECK(contains(styled, "\x1b["));  // attributes are left
}

TEST_CASE("Standard sampling streams its tokens behind the prompt, in lines") {
  const Run run("--sampling_method=standard --num_samples=2 --max_new_tokens=4000 --start_text=ROMEO:");
  REQUIRE(run.reaches(3));
  REQUIRE(run.pauses());
  const std::string before = joined(run.body(), columns);
  const int64_t step = run.step();
  CHECK(before.substr(0, 6) == "ROMEO:");
  run.terminal.press("Space");
  REQUIRE(run.reaches(step + 60));
  const std::string after = joined(run.body(), columns);
  CHECK(after.size() > before.size());
  CHECK_FALSE(contains(after, "⏎"));
  run.terminal.press("l");
  CHECK(run.terminal.wait_for("⏎"));
  run.end_at_once();
  run.check_left_clean(130);
}

TEST_CASE("A finished run leaves its samples in the terminal, those of every batch") {
  const Run run("--num_samples=3 --batch_size=1 --sequence_length=8 --diffusion_iterations=12");
  REQUIRE(Tmux::wait_until([&] { return contains(run.terminal.rows().at(0), "index 1"); }));
  CHECK_FALSE(contains(run.terminal.text(), "SAMPLE"));
  run.check_left_clean(0);
  for (const std::string sample : {"SAMPLE 1/3", "SAMPLE 2/3", "SAMPLE 3/3"}) {
    CHECK(contains(run.terminal.all_text(), sample));
  }
}

// Ends a paused run by 'q' (0) or a signal and returns all that it left in the terminal.
std::string text_of_run_ended_by(int how) {
  const Run run(short_batch + "--output=/dev/null");
  REQUIRE(run.reaches(2));
  REQUIRE(run.pauses());
  if (how == 0) {
    run.terminal.press("q");
  } else if (how == SIGINT) {
    run.terminal.press("C-c");
  } else {
    run.send(how);
  }
  run.check_left_clean(how == SIGTERM ? 143 : 130);
  return run.terminal.all_text();
}

TEST_CASE("Quitting and the first signal close even a paused view at once, and what is in flight is written") {
  for (const int how : {0, SIGINT, SIGTERM}) {
    CAPTURE(how);
    std::string text = text_of_run_ended_by(how);
    // On a machine that does much else the batch may not end in the seconds that it has.
    for (int more = 0; more < 3 && contains(text, "was given up"); ++more) {
      text = text_of_run_ended_by(how);
    }
    CAPTURE(text);
    CHECK(contains(text, "demask: stopping after the batch in flight"));
    CHECK(contains(text, "SAMPLE 3/3"));
    CHECK(contains(text, "interrupted after 3 of 3 samples"));
  }
}

TEST_CASE("Signals that end the process at once leave the terminal clean") {
  for (const auto& [signal_number, code] : {std::pair(SIGHUP, 128 + SIGHUP), std::pair(SIGQUIT, 128 + SIGQUIT)}) {
    CAPTURE(signal_number);
    const Run run(endless);
    REQUIRE(run.reaches(2));
    run.send(signal_number);
    run.check_left_clean(code);
  }
}

TEST_CASE("A stopped run gives the terminal back and takes it again when it goes on") {
  const Run run(endless);
  REQUIRE(run.reaches(2));
  run.terminal.press("C-z");
  // The shell goes on with the script behind the stopped program.
  REQUIRE(run.terminal.wait_for("the end"));
  CHECK(run.terminal.format("#{alternate_on} #{cursor_flag}") == "0 1");
  CHECK(run.modes_are_restored());
  run.terminal.type_line("clear; fg; stty -g > " + (run.folder / "after") + "; echo again code=$?");
  REQUIRE(Tmux::wait_until([&] { return run.terminal.shows_alternate_screen() && run.step() > 0; }));
  const int64_t step = run.step();
  CHECK(run.reaches(step + 2));
  REQUIRE(run.pauses());
  CHECK(run.terminal.format("#{cursor_flag}") == "0");
  run.send(SIGTERM);
  run.told_to_stop();
  run.send(SIGTERM);
  CHECK(run.terminal.wait_for("again code="));
  CHECK(run.terminal.format("#{alternate_on} #{cursor_flag}") == "0 1");
  CHECK(run.modes_are_restored());
}

TEST_CASE("An error in the middle of the run is told on a clean terminal") {
  const TemporaryFolder folder;
  CheckpointFile file = tiny_checkpoint();
  overflow_head(file);
  file.write(folder / "huge.pt");
  write_file(folder / "meta.json", R"({"itos": ["a", "b"]})");
  const Run run("--checkpoint_name=" + (folder / "huge.pt") + " --meta_path=" + (folder / "meta.json") +
                " --sequence_length=4 --diffusion_iterations=10");
  run.check_left_clean(4);
  CHECK(contains(run.terminal.all_text(), "non-finite"));
}

TEST_CASE("An output that gets too large is told of behind the samples that were drawn before") {
  const TemporaryFolder folder;
  const Run run("--num_samples=100 --batch_size=1 --sequence_length=8 --diffusion_iterations=2 --output=" +
                    (folder / "samples.jsonl"),
                "--ignore-signal=XFSZ prlimit --fsize=5000:");
  run.check_left_clean(4);
  const std::string text = run.terminal.all_text();
  CHECK(contains(text, "File too large"));
  CHECK(text.find("SAMPLE 1/100") < text.find("File too large"));
}

TEST_CASE("Keys come from the terminal where the prompts come from standard input") {
  const TemporaryFolder folder;
  write_file(folder / "prompts.txt", "ROMEO:\nJULIET:\n");
  const Run run("--prompts=- --sequence_length=60 --diffusion_iterations=100000 < " + (folder / "prompts.txt"));
  REQUIRE(run.reaches(2));
  REQUIRE(run.pauses());
  run.end_at_once("q");
  run.check_left_clean(130);
}

TEST_CASE("Where stderr is no terminal, or a dumb one, progress is shown as without the view") {
  const ProcessResult result = demask::testing::demask(
      {"--live=True", "--device=cpu", "--num_samples=1", "--sequence_length=8", "--diffusion_iterations=2"});
  CHECK(result.exit_code == 0);
  CHECK(result.err == "Iteration 1/2: 8/8 tokens masked (100.0%)\nIteration 2/2: 0/8 tokens masked (0.0%)\n");
  CHECK_FALSE(contains(result.out, "\x1b"));
  const Run run("--num_samples=1 --sequence_length=8 --diffusion_iterations=2", "TERM=dumb");
  run.check_left_clean(0);
  CHECK(contains(run.terminal.all_text(), "Iteration 2/2"));
}
