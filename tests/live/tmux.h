// A terminal with a shell in it, in which a test types and reads as a user would: tmux, on a server of its own.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace demask::testing {

class Tmux {
 public:
  // Starts a shell in the source tree. NO_COLOR and COLORTERM are empty in it.
  Tmux(int columns, int rows);
  Tmux(const Tmux&) = delete;
  Tmux& operator=(const Tmux&) = delete;
  ~Tmux();  // ends all that was started

  // Text as it stands, then Enter.
  void type_line(const std::string& text) const;
  // By tmux's names: "Space", "C-c", "q".
  void press(const std::string& key) const;
  void resize(int columns, int rows) const;

  // Rows of the screen, as wide as it is filled; with SGR sequences where asked for.
  std::vector<std::string> rows(bool styled = false) const;
  std::string text() const;         // the same in one
  std::string styled_text() const;  // with SGR sequences
  std::string all_text() const;     // with what has scrolled away, and lines as long as they were written
  std::string format(const std::string& format) const;
  bool shows_alternate_screen() const { return format("#{alternate_on}") == "1"; }

  // Asks again and again until `condition` holds; false where it did not within the time that a slow machine may take.
  template <typename Condition>
  static bool wait_until(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + longest_wait;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      pause();
    }
    return true;
  }
  bool wait_for(const std::string& text) const;

 private:
  static constexpr std::chrono::seconds longest_wait{60};

  static void pause();
  std::string run(std::vector<std::string> arguments) const;

  std::string socket_;
};

}  // namespace demask::testing
