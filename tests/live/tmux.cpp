#include "tests/live/tmux.h"

#include <unistd.h>

#include <sstream>
#include <stdexcept>
#include <thread>

namespace demask::testing {

Tmux::Tmux(int columns, int rows) {
  static int started = 0;
  socket_ = "demask-test-" + std::to_string(::getpid()) + "-" + std::to_string(started++);
  run({"-f", "/dev/null", "new-session", "-d", "-x", std::to_string(columns), "-y", std::to_string(rows), "-c",
       DEMASK_SOURCE_DIR, "/bin/sh"});
  wait_until([this] { return text().find_first_not_of(" \n") != std::string::npos; });  // the prompt
}

Tmux::~Tmux() {
  try {
    run({"kill-server"});
  } catch (const std::exception&) {  // it has ended by itself
  }
}

std::string Tmux::run(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"tmux", "-u", "-L", socket_});
  ProcessOptions options;
  options.environment = {{"NO_COLOR", ""}, {"COLORTERM", ""}, {"TMUX", ""}, {"ENV", ""}};
  const ProcessResult result = run_process(arguments, options);
  if (result.exit_code != 0) {
    throw std::runtime_error("tmux failed: " + result.err);
  }
  return result.out;
}

void Tmux::pause() {
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

void Tmux::type_line(const std::string& text) const {
  run({"send-keys", "-l", text});
  press("Enter");
}

void Tmux::press(const std::string& key) const {
  run({"send-keys", key});
}

void Tmux::resize(int columns, int rows) const {
  run({"resize-window", "-x", std::to_string(columns), "-y", std::to_string(rows)});
}

std::vector<std::string> Tmux::rows(bool styled) const {
  std::istringstream lines(run(styled ? std::vector<std::string>{"capture-pane", "-p", "-N", "-e"}
                                      : std::vector<std::string>{"capture-pane", "-p", "-N"}));
  std::vector<std::string> rows;
  for (std::string line; std::getline(lines, line);) {
    rows.push_back(line);
  }
  return rows;
}

std::string Tmux::text() const {
  return run({"capture-pane", "-p"});
}

std::string Tmux::all_text() const {
  return run({"capture-pane", "-p", "-J", "-S", "-"});
}

std::string Tmux::styled_text() const {
  return run({"capture-pane", "-p", "-e"});
}

std::string Tmux::format(const std::string& format) const {
  const std::string text = run({"display-message", "-p", format});
  return text.substr(0, text.find('\n'));
}

bool Tmux::wait_for(const std::string& text) const {
  return wait_until([&] { return this->text().find(text) != std::string::npos; });
}

}  // namespace demask::testing
