#include "app/ending.h"

#include <fmt/format.h>
#include <signal.h>

#include "app/interrupt.h"
#include "core/error.h"
#include "output/sample_writer.h"

namespace demask {

namespace {

ExitCode code_of_stop() {
  return stop_signal() == SIGTERM ? ExitCode::terminated : ExitCode::interrupted;
}

}  // namespace

void end_interrupted(const std::string& name, int64_t drawn, const LineRanges& unanswered) {
  fail(code_of_stop(), "interrupted after {} samples: {}", drawn,
       unanswered.empty() ? "every line that was read is answered." : unanswered_in_words(name, unanswered));
}

std::string unanswered_in_words(const std::string& name, const LineRanges& unanswered) {
  return fmt::format("these lines of {} were read and are not answered, or not with all their samples: {}.", name,
                     unanswered.in_words());
}

void end_interrupted(const Config& config, int64_t drawn, int64_t asked) {
  const bool resumable = config.output && is_json_lines(*config.output);
  fail(code_of_stop(), "interrupted after {} of {} samples.{}", drawn, asked,
       drawn == asked ? ""
       : resumable
           ? fmt::format(" They are in '{}'; the same command with --resume=True goes on from there.", *config.output)
           : " An --output that ends in .jsonl could be gone on with.");
}

void report_bad_lines(const Work& work, const std::string& name) {
  if (work.bad_lines().empty()) {
    return;
  }
  constexpr size_t most_named = 20;
  std::string message = fmt::format("{} lines of {} were left out:", work.bad_lines().size(), name);
  for (size_t i = 0; i < work.bad_lines().size() && i < most_named; ++i) {
    message += fmt::format("\n  {}:{}: {}", name, work.bad_lines()[i].line, work.bad_lines()[i].reason);
  }
  if (work.bad_lines().size() > most_named) {
    message += fmt::format("\n  and {} more", work.bad_lines().size() - most_named);
  }
  throw_error(ExitCode::failed, message);
}

}  // namespace demask
